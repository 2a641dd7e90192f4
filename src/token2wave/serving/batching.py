"""Computes the texts of several requests together. No request waits for others to arrive."""

from __future__ import annotations

import asyncio
import heapq
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from token2wave.serving.bodies import RequestError
from token2wave.serving.limits import ServiceLimits
from token2wave.serving.prometheus import ServiceMetrics

if TYPE_CHECKING:
    from token2wave.serving.model_store import ServedModel

T = TypeVar("T")
SMALL_REQUEST = 1 << 12  # maximal size of a request that joins a batch; the core takes 0.1 us for each unit
BATCH_CHARACTERS = 1 << 15  # so that a batch takes a few milliseconds
SECONDS_A_CHARACTER = 1e-6  # ten times what the core takes, so that waiting decides among much the same
SMALL_COST = 1 << 17  # of work in a thread that does not wait behind larger work, some ten milliseconds
# How many times as long as predicting these take.
EXPLAIN_COST, NOVELTY_COST = 100, 4


def request_size(texts: list[str]) -> int:
    """The size of a request: its characters, and one for each text. It is the cost of predicting, too."""
    return sum(map(len, texts)) + len(texts)


class Worker:
    """A thread that calls functions, the cheapest first. What has waited long counts as cheap.

    ``niceness`` lets the event loop run before it, where the system has priorities of threads.
    """

    def __init__(self, name: str, niceness: int) -> None:
        self._niceness = niceness
        self._items: list[tuple[float, int, Future[Any], Callable[[], Any]]] = []
        self._condition = threading.Condition()
        self._n_submitted = 0
        self._is_closed = False
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, function: Callable[[], T], cost: int) -> asyncio.Future[T]:
        """Call a function when it is its turn; ``cost`` in characters to predict."""
        future: Future[T] = Future()
        with self._condition:
            self._n_submitted += 1
            order = time.monotonic() + cost * SECONDS_A_CHARACTER
            heapq.heappush(self._items, (order, self._n_submitted, future, function))
            self._condition.notify()
        return asyncio.wrap_future(future)

    def close(self) -> None:
        """Cancel what waits."""
        with self._condition:
            self._is_closed = True
            for _, _, future, _ in self._items:
                future.cancel()
            self._condition.notify()

    def _run(self) -> None:
        if sys.platform == "linux":
            thread = os.PRIO_PROCESS, threading.get_native_id()
            with suppress(OSError):  # sandboxes may forbid it
                os.setpriority(*thread, os.getpriority(*thread) + self._niceness)
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._items or self._is_closed)
                if self._is_closed:
                    return
                _, _, future, function = heapq.heappop(self._items)
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)


class BatchResult(NamedTuple):
    """Predictions of ``N`` texts: a probability for each class, and whether anything is known of the text."""

    probabilities: list[list[float]]
    known: list[bool]


class Waiting(NamedTuple):
    """Texts of a request that wait for the next batch of their model."""

    model: ServedModel
    texts: list[str]
    future: asyncio.Future[BatchResult]


IsStopped = Callable[[], bool]


class Batcher:
    """Computes predictions for requests.

    Small requests to a model that arrive while others are computed, or in the same turn of the event loop,
    form a batch.
    The native core is called directly, because it is done before a thread would have started. Slower networks
    run in a thread, as short explanations do, the cheapest first. Large requests run one by one in another
    thread, and small ones pass them; each of the two queues has its limit. The core releases the interpreter
    lock.

    Args:
        limits: limits of the queue.
        metrics: counts batches and texts.
    """

    def __init__(self, limits: ServiceLimits, metrics: ServiceMetrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._waiting: deque[Waiting] = deque()
        self._is_running = self._is_closed = False
        self._small_cost = self._large_cost = 0
        self._small_worker, self._large_worker = Worker("small", 3), Worker("large", 10)

    async def predict(self, model: ServedModel, texts: list[str]) -> BatchResult:
        """Predict a few short texts.

        Raises:
            RequestError: 503, the queue is full.
        """
        loop, cost = asyncio.get_running_loop(), request_size(texts)
        self._check_queue(self._small_cost, cost)
        self._small_cost += cost
        future: asyncio.Future[BatchResult] = loop.create_future()
        self._waiting.append(Waiting(model, texts, future))
        if not self._is_running:
            self._is_running = True
            loop.call_soon(self._run_batch)
        try:
            return await future
        finally:
            self._small_cost -= cost

    async def run(self, function: Callable[[IsStopped], T], cost: int) -> T:
        """Call a slow function in a thread. If this is cancelled, it is not called, or told to stop.

        Args:
            function: takes a function that returns whether nobody waits any longer.
            cost: in characters to predict.

        Raises:
            RequestError: 503, the queue is full.
        """
        cancelled = threading.Event()
        is_small = cost <= SMALL_COST
        self._check_queue(self._small_cost if is_small else self._large_cost, cost)
        self._add_cost(is_small, cost)

        def call() -> T:
            return function(lambda: self._is_closed or cancelled.is_set())

        try:
            return await (self._small_worker if is_small else self._large_worker).submit(call, cost)
        finally:
            cancelled.set()
            self._add_cost(is_small, -cost)

    def _add_cost(self, is_small: bool, cost: int) -> None:
        if is_small:
            self._small_cost += cost
        else:
            self._large_cost += cost
        self._metrics.queued.set(self.queued)

    @property
    def queued(self) -> int:
        """Cost of all requests that wait or are computed."""
        return self._small_cost + self._large_cost

    def compute(self, model: ServedModel, texts: list[str]) -> BatchResult:
        """Compute probabilities, in the thread of the caller."""
        probabilities, known = model.classifier.probabilities_and_known(texts)
        self._metrics.texts.inc(len(texts))
        self._metrics.batch_texts.observe(len(texts))
        result = BatchResult(probabilities.tolist(), known.tolist())
        model.counters.count(texts, *result)
        return result

    def close(self) -> None:
        """Drop what waits, and tell what runs to stop."""
        self._is_closed = True
        self._small_worker.close()
        self._large_worker.close()

    def _check_queue(self, queued: int, cost: int) -> None:
        """Refuse a request if it does not fit the queue, unless nothing is queued."""
        if queued and queued + cost > self._limits.queue_characters:
            self._metrics.rejected("queue").inc()
            problem = (
                f"expected work of at most {self._limits.queue_characters:,} characters in the queue, "
                "found more"
            )
            headers = (("retry-after", "1"),)
            raise RequestError(503, problem, location="queue", hint="try again later", headers=headers)

    def _run_batch(self) -> None:
        """Compute the first texts of the queue with the model that they wait for."""
        self._metrics.queued.set(self.queued)
        batch: list[Waiting] = []
        texts: list[str] = []
        n_characters = 0
        while self._waiting and n_characters < BATCH_CHARACTERS:
            if batch and self._waiting[0].model is not batch[0].model:
                break
            request = self._waiting.popleft()
            if not request.future.done():  # else the client is gone
                batch.append(request)
                texts += request.texts
                n_characters += sum(map(len, request.texts))
        if not batch:
            self._is_running = False
            return
        loop, model = asyncio.get_running_loop(), batch[0].model
        if model.classifier.computes_with == "native core":
            self._deliver(batch, lambda: self.compute(model, texts))
            loop.call_soon(self._run_batch)  # the loop reads and answers requests in between
            return

        def finish(future: asyncio.Future[BatchResult]) -> None:
            self._deliver(batch, future.result)
            self._run_batch()

        self._small_worker.submit(partial(self.compute, model, texts), n_characters).add_done_callback(finish)

    def _deliver(self, batch: list[Waiting], get_result: Callable[[], BatchResult]) -> None:
        """Give each request its own rows of a result, or the error that is its own."""
        try:
            probabilities, known = get_result()
        except Exception as error:
            for request in batch:
                if len(batch) > 1:
                    self._deliver([request], partial(self.compute, request.model, request.texts))
                elif not request.future.done():
                    request.future.set_exception(error)
            return
        start = 0
        for request in batch:
            end = start + len(request.texts)
            if not request.future.done():  # cancelled if the client is gone
                request.future.set_result(BatchResult(probabilities[start:end], known[start:end]))
            start = end
