"""Workers compute the cheapest first, and cancel what waits when they close."""

import asyncio
import threading

import pytest

from token2wave.serving import batching
from token2wave.serving.batching import Worker


def submit_all(costs, monkeypatch=None):
    """The order in which calls of these costs run that all wait behind one."""
    done, started, order = threading.Event(), threading.Event(), []

    async def run():
        worker = Worker("test", 1)

        def first():
            started.set()
            done.wait()

        futures = [worker.submit(first, 1)]
        await asyncio.to_thread(started.wait)
        futures += [worker.submit(lambda cost=cost: order.append(cost), cost) for cost in costs]
        done.set()
        await asyncio.gather(*futures)
        worker.close()

    asyncio.run(run())
    return order


def test_the_cheapest_comes_first():
    assert submit_all([30_000_000, 10_000_000, 20_000_000]) == [10_000_000, 20_000_000, 30_000_000]


def test_what_has_waited_long_comes_first(monkeypatch):
    monkeypatch.setattr(batching, "SECONDS_A_CHARACTER", 0.0)
    assert submit_all([3, 1, 2]) == [3, 1, 2]


def test_errors_reach_the_caller_and_closing_cancels_what_waits():
    done, started = threading.Event(), threading.Event()

    async def run():
        worker = Worker("test", 1)
        with pytest.raises(ZeroDivisionError):
            await worker.submit(lambda: 1 / 0, 1)

        def first():
            started.set()
            done.wait()

        running, waiting = worker.submit(first, 1), worker.submit(lambda: 2, 1)
        await asyncio.to_thread(started.wait)
        worker.close()
        done.set()
        assert await running is None
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(run())


def test_a_worker_runs_where_priorities_are_forbidden(monkeypatch):
    """As in a sandbox; else no request would ever be answered."""

    def forbid(*_):
        raise PermissionError

    monkeypatch.setattr(batching.os, "setpriority", forbid)
    assert submit_all([20_000_000, 10_000_000]) == [10_000_000, 20_000_000]
