"""Training on several devices: every process that ``torchrun`` starts runs the same code (SPMD).

Every rank reads the data, makes features, validates and calibrates. It trains on its own texts of every batch
(:mod:`token2wave.training.gradient_sync`). Only rank 0 prints and writes. A single process needs no torch.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from token2wave.errors import ConfigError, DistributedError, Interruption, RemoteError, Token2WaveError

P = ParamSpec("P")
R = TypeVar("R")
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
STEP_TIMEOUT = timedelta(minutes=10)
FAILURE_WAIT = 1.0  # seconds in which another rank can say why it failed
LOST_CONNECTION = ("gloo", "nccl", "connection", "timed out", "timeout", "socket", "broken pipe")


@dataclass
class Traffic:
    """What a rank sends to the others in the steps of a training: gradients, without the protocol.

    Attributes:
        steps: so far.
        rows: distinct rows of the embedding that the steps touch, summed over steps.
        row_bytes: sent for the gradients of rows.
        dense_bytes: sent for all other gradients.
    """

    steps: int = 0
    rows: int = 0
    row_bytes: int = 0
    dense_bytes: int = 0

    def per_step(self) -> dict[str, float]:
        """The means over steps by name, and the number of processes."""
        means = {
            name: getattr(self, name) / max(self.steps, 1) for name in ("rows", "row_bytes", "dense_bytes")
        }
        return {"processes": float(world_size()), **means}


class _Group:
    """The ranks of this training, which meet at a store."""

    n_joined = 0
    store: Any = None  # None outside a training
    has_failed = False
    traffic = Traffic()


def is_launched() -> bool:
    """Whether ``torchrun``, or a launcher that sets the same variables, started this process."""
    if any(name not in os.environ for name in VARIABLES):
        return False
    # Some clusters set the variables for a single process, too.
    return _number("WORLD_SIZE") > 1 or "TORCHELASTIC_RUN_ID" in os.environ


def is_distributed() -> bool:
    """Whether the current training runs in the processes of a launcher."""
    return _Group.store is not None


def rank() -> int:
    """Number of this process, from 0; 0 in a process that no launcher started."""
    return _number("RANK") if is_launched() else 0


def world_size() -> int:
    """Number of processes; 1 for a process that no launcher started."""
    return _number("WORLD_SIZE") if is_launched() else 1


def traffic() -> Traffic | None:
    """What this rank has sent in the current training; None in a single process."""
    return _Group.traffic if is_distributed() else None


def require_one_process(purpose: str) -> None:
    """Refuse work that several processes would each do by themselves.

    Raises:
        ConfigError: a launcher started several.
    """
    if world_size() > 1:
        raise ConfigError(
            f"{purpose} takes one process, found {world_size()}",
            location="torchrun",
            hint="run it without torchrun",
        )


def run_distributed(train: Callable[P, R]) -> Callable[P, R]:
    """Make a training function, called with ``options`` and ``callbacks``, run under ``torchrun``.

    Ranks above 0 run it without callbacks and output files. An error is reported by one rank: the others
    raise `RemoteError`.

    Raises:
        ConfigError: the ranks were called with different options.
        DistributedError: the ranks cannot meet, or one was lost.
        RemoteError: another rank failed.
    """

    @wraps(train)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if is_distributed() or not is_launched():
            return train(*args, **kwargs)
        options = cast("Any", kwargs["options"])
        try:
            device = _join(options.device)
            if options.time_budget is not None:
                raise ConfigError(
                    "a search by time takes one process, since no two have the same clock",
                    location="time_budget",
                    hint="give a number of --candidates instead, or run it without torchrun",
                )
            outputs: dict[str, Any] = {"out": None, "report": None, "overwrite": False}
            require_same({"device": device, **vars(replace(options, **outputs))})
            if rank():
                kwargs.update(options=replace(options, **outputs), callbacks=())
            return train(*args, **kwargs)
        except BaseException as error:
            _Group.has_failed = True
            raised = _report_failure(error)
            if raised is error:
                raise
            raise raised from error
        finally:
            _Group.store = None

    return run


def require_same(values: Mapping[str, Any]) -> None:
    """Check that all ranks have the same values; does nothing in a single process.

    Args:
        values: plain data by name, the same names in all ranks: settings, counts, checksums.

    Raises:
        DistributedError: they differ; in all ranks.
    """
    if not is_distributed():
        return
    import torch.distributed as dist

    of_ranks: list[Any] = [None] * world_size()
    dist.all_gather_object(of_ranks, {name: repr(value) for name, value in values.items()})
    first = of_ranks[0]
    for number, other in enumerate(of_ranks):
        for name in sorted({*first, *other}):
            if first.get(name) != other.get(name):
                raise DistributedError(
                    f"expected the same in all processes, found {first.get(name)} in process 1 and "
                    f"{other.get(name)} in process {number + 1}",
                    location=name,
                    hint="give all the same data, options, processors or GPUs and versions; "
                    "to train separate models, run them without torchrun",
                )


def broadcast(value: R) -> R:
    """Give all ranks the value of rank 0, so that all decide alike; any object that can be pickled."""
    if not is_distributed():
        return value
    import torch.distributed as dist

    values = [value]
    dist.broadcast_object_list(values, 0)
    return values[0]


def _join(device: str) -> str:
    """Meet the other ranks, and choose the device of this one: ``cpu`` or ``cuda``."""
    import torch
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    if _Group.has_failed:
        raise DistributedError(
            "an earlier training failed, and the processes are no longer in step",
            location="torchrun",
            hint="start them again",
        )
    uses_gpu = device != "cpu" and torch.cuda.is_available()
    if uses_gpu:
        number, n_devices = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if number >= n_devices:
            raise ConfigError(
                f"expected a GPU for each process of this machine, found {n_devices}",
                location="torchrun",
                hint=f"start at most {n_devices} processes on it, or choose --device cpu",
            )
        torch.cuda.set_device(number)
    try:
        store = next(rendezvous("env://", timeout=STEP_TIMEOUT))[0]
        if not dist.is_initialized():  # it lives as long as the process: the next training uses it again
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if uses_gpu else "gloo",
                store=PrefixStore("token2wave", store),
                rank=rank(),
                world_size=world_size(),
                timeout=STEP_TIMEOUT,
            )
            atexit.register(_leave)
    except (RuntimeError, ValueError, OSError) as error:
        raise DistributedError(
            f"the processes cannot meet: {error}",
            location="torchrun",
            hint="check that each machine can reach the address and port of the first",
        ) from error
    _Group.n_joined += 1
    _Group.store = PrefixStore(f"token2wave/{_Group.n_joined}", store)
    _Group.traffic = Traffic()
    return "cuda" if uses_gpu else "cpu"


def _leave() -> None:
    """Leave the group at the end; after a failure others may never arrive."""
    import torch.distributed as dist

    if dist.is_initialized() and not _Group.has_failed:
        dist.destroy_process_group()


def _report_failure(error: BaseException) -> BaseException:
    """Let one rank alone report a failure, rank 0 if it failed, too.

    Returns:
        What this rank raises.
    """
    is_lost = isinstance(error, RuntimeError) and any(word in str(error).lower() for word in LOST_CONNECTION)
    if (rank() or is_lost) and _another_failed(FAILURE_WAIT):
        return RemoteError("another process failed")
    if _Group.store is not None:
        with suppress(RuntimeError):  # the store may be gone: two reports are better than none
            if _Group.store.add("failures", 1) > 1:
                return RemoteError("another process failed")
    location = f"process {rank() + 1} of {world_size()}"
    if is_lost:
        return DistributedError(
            "another process stopped without a message, or cannot be reached "
            f"({str(error).splitlines()[0]:.200})",
            location=location,
            hint="check whether it was killed, e.g. out of memory; resume from a checkpoint with --resume",
        )
    if rank() and isinstance(error, Token2WaveError) and not isinstance(error, Interruption):
        return DistributedError(str(error), location=location)
    return error


def _another_failed(seconds: float) -> bool:
    """Wait for another rank to report a failure."""
    end = time.monotonic() + seconds
    try:
        while not _Group.store.check(["failures"]):
            if time.monotonic() >= end:
                return False
            time.sleep(0.02)
    except (RuntimeError, AttributeError):  # there is no store
        return False
    except (KeyboardInterrupt, Interruption):  # torchrun ends this process because another failed
        return True
    return True


def _number(name: str) -> int:
    value = os.environ[name]
    if not (value.isascii() and value.isdecimal()):
        raise ConfigError(
            f"expected a number in the environment, found {value!r}",
            location=name,
            hint="start with torchrun, or unset it",
        )
    return int(value)
