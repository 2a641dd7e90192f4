"""The processes of a training, and how they speak with each other.

Commands and failures go through the store that the processes met at, so that those who wait can wait for
hours and still see that others have failed. Arrays and gradients go through ``torch.distributed``: gloo on
processors, NCCL between GPUs.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from token2wave.errors import ConfigError, DistributedError, Interruption, RemoteError, Token2WaveError
from token2wave.training.divergence import DivergenceError

STEP_TIMEOUT = timedelta(minutes=10)  # for what all do at the same time
SECONDS_FOR_A_WORD = 1.0  # in which a process that fails can say so before its connections are gone
LONGEST_NAP = 0.05  # seconds between two looks at the store
BYTES_CHUNK = 1 << 28
LOST = ("gloo", "nccl", "connection", "timed out", "timeout", "socket", "broken pipe")

Arrays = Mapping[str, NDArray[Any]]


@dataclass
class Traffic:
    """What a process sends to the others in the steps of a training; payload, without the protocol's.

    Attributes:
        processes: that take part.
        steps: so far.
        rows: distinct rows of the embedding that the steps touched, summed over steps.
        row_bytes: sent for the gradients of the rows.
        dense_bytes: sent for the gradients of all other parameters.
    """

    processes: int
    steps: int = 0
    rows: int = 0
    row_bytes: int = 0
    dense_bytes: int = 0

    def of_a_step(self) -> dict[str, float]:
        """Means over the steps, by name, and the number of processes; plain data."""
        found = {"processes": float(self.processes)}
        names = ("rows", "row_bytes", "dense_bytes")
        return found | {name: getattr(self, name) / max(self.steps, 1) for name in names}


class Group:
    """The processes that were started together.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``, as :func:`token2wave.train` has it.

    Attributes:
        rank: number of this process; 0 leads.
        size: how many there are.
        device: that this one computes on.
        traffic: of all steps so far.
        is_broken: whether the processes are no longer known to be at the same place; for good, once it is so.

    Raises:
        ConfigError: the processes cannot compute on the same kind of device, or there are too few GPUs.
        DistributedError: they do not find each other.
    """

    n_made = 0
    is_broken = False

    def __init__(self, device: str) -> None:
        self.device = _device(device)
        self.n_commands = 0
        if Group.is_broken:
            raise DistributedError(
                "a training before has failed in a step, and the processes are no longer in step",
                location="torchrun",
                hint="start them again",
            )
        Group.n_made += 1
        try:
            store, rank, size = next(rendezvous("env://", timeout=STEP_TIMEOUT))
            self.rank, self.size = int(rank), int(size)
            self.store = PrefixStore(f"token2wave/{Group.n_made}", store)
            self._require_one_kind_of_device()
            if not dist.is_initialized():
                backend = "gloo" if self.device.type == "cpu" else "cpu:gloo,cuda:nccl"
                meeting = PrefixStore("steps", self.store)
                # Kept for as long as the process lives: to take it down while a thread of gloo's is still
                # letting go of a tensor blocks both, and the next training uses it again.
                atexit.register(_leave)
                dist.init_process_group(
                    backend, store=meeting, rank=self.rank, world_size=self.size, timeout=STEP_TIMEOUT
                )
        except (RuntimeError, ValueError, OSError) as error:
            raise DistributedError(
                f"the processes do not find each other: {error}",
                location="torchrun",
                hint="check that each machine can reach the address and port of the first",
            ) from error
        self.traffic = Traffic(self.size)

    @property
    def is_leader(self) -> bool:
        """Whether this is the process that the others follow."""
        return not self.rank

    def command(self, name: str, arrays: Arrays | None = None, /, **values: Any) -> None:
        """Tell the others what to do next; only the leader commands.

        Args:
            name: of what is to be done.
            arrays: that they need for it.
            values: plain data that they need for it.

        Raises:
            RemoteError: one of them has failed.
        """
        if self.size == 1:
            return
        self._require_no_failure()
        arrays = {} if arrays is None else arrays
        header = [(key, array.shape, array.dtype.str) for key, array in arrays.items()]
        said = {"name": name, "values": values, "arrays": header}
        self.store.set(self._next_key(), json.dumps(said))
        with self.in_step():
            for array in arrays.values():
                self._broadcast(np.require(array, requirements=["C", "W"]))

    def next_command(self) -> tuple[str, dict[str, Any], dict[str, NDArray[Any]]]:
        """Wait for the leader's next command: its name, plain data, and arrays.

        Raises:
            RemoteError: another process has failed.
        """
        key, nap = self._next_key(), 1e-3
        while not self.store.check([key]):
            self._require_no_failure()
            time.sleep(nap)
            nap = min(1.5 * nap, LONGEST_NAP)
        said = json.loads(self.store.get(key))
        arrays = {}
        with self.in_step():
            for name, shape, dtype in said["arrays"]:
                arrays[name] = np.empty(shape, dtype)
                self._broadcast(arrays[name])
        return said["name"], said["values"], arrays

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """Note that what happens here must happen in all processes, or in none."""
        was_broken, Group.is_broken = Group.is_broken, True
        try:
            yield
        except DivergenceError:  # which all see in the same numbers
            Group.is_broken = was_broken
            raise
        Group.is_broken = was_broken

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum a tensor over all processes, in place."""
        dist.all_reduce(tensor)
        return tensor

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensors of all processes, ``(P, ...)``, which must be of one shape."""
        found = tensor.new_empty(self.size, *tensor.shape)
        dist.all_gather(list(found.unbind()), tensor.contiguous())
        return found

    def collect(self, own: NDArray[np.float32], bounds: NDArray[np.int64]) -> NDArray[np.float32]:
        """Put the parts of an array together in the leader.

        Args:
            own: this process's part, rows ``bounds[rank]`` to ``bounds[rank + 1]``.
            bounds: ``(P + 1,)``.

        Returns:
            All rows in the leader; in the others their own.
        """
        if not self.is_leader:
            if own.size:
                dist.send(torch.from_numpy(np.ascontiguousarray(own)), 0)
            return own
        found = np.empty((int(bounds[-1]), *own.shape[1:]), dtype=own.dtype)
        found[: len(own)] = own
        for rank in range(1, self.size):
            part = torch.from_numpy(found[bounds[rank] : bounds[rank + 1]])
            if part.numel():
                dist.recv(part, rank)
        return found

    def require_same_call(self, arguments: Mapping[str, Any]) -> None:
        """Find out whether all processes were asked for the same.

        Raises:
            ConfigError: they were not; in the leader.
        """
        own = json.dumps(arguments, sort_keys=True)
        if not self.is_leader:
            self.store.set(f"call/{self.rank}", own)
            return
        for rank in range(1, self.size):
            other = json.loads(self.store.get(f"call/{rank}"))
            for name in sorted({*arguments, *other}):
                if arguments.get(name) != other.get(name):
                    raise ConfigError(
                        f"expected the same in all processes, found {arguments.get(name)} in the first and "
                        f"{other.get(name)} in number {rank + 1}",
                        location=name,
                        hint="train different models without torchrun, or with the variable RANK unset",
                    )

    def ended_by(self, error: BaseException) -> BaseException:
        """Tell the others of a failure, and find out what to say of it.

        One process speaks: the first to fail.

        Returns:
            What to raise.
        """
        if isinstance(error, RemoteError):
            return error
        is_lost = isinstance(error, RuntimeError) and any(word in str(error).lower() for word in LOST)
        follows = isinstance(error, Interruption | KeyboardInterrupt) and not self.is_leader
        if is_lost or follows:  # the cause may be elsewhere
            said = self._failure(SECONDS_FOR_A_WORD)
            if said is not None:
                return RemoteError(said)
        if is_lost:
            error = DistributedError(
                "another process stopped without a word, or could not be reached "
                f"({str(error).splitlines()[0]:.200})",
                location=f"process {self.rank + 1} of {self.size}",
                hint="look whether one was killed, as for want of memory; --resume goes on from a checkpoint",
            )
        elif isinstance(error, Token2WaveError) and not self.is_leader:
            error = DistributedError(str(error), location=f"process {self.rank + 1} of {self.size}")
        if not self._is_first_to_fail(str(error) or type(error).__name__):
            return RemoteError(self._failure(SECONDS_FOR_A_WORD) or "for an unknown reason")
        return error

    def _broadcast(self, array: NDArray[Any]) -> None:
        flat = torch.from_numpy(array.reshape(-1).view(np.uint8))
        for part in torch.split(flat, BYTES_CHUNK):
            if part.numel():
                dist.broadcast(part, 0)

    def _next_key(self) -> str:
        self.n_commands += 1
        return f"command/{self.n_commands}"

    def _failure(self, seconds: float) -> str | None:
        """What the first process to fail said, if one speaks within a time."""
        end = time.monotonic() + seconds
        with suppress(RuntimeError):
            while not self.store.check(["failure"]):
                if time.monotonic() >= end:
                    return None
                time.sleep(0.02)
            return self.store.get("failure").decode()
        return None

    def _require_no_failure(self) -> None:
        said = self._failure(0.0)
        if said is not None:
            raise RemoteError(said)

    def _is_first_to_fail(self, said: str) -> bool:
        with suppress(RuntimeError):
            if self.store.add("failures", 1) > 1:
                return False
            self.store.set("failure", said)
        return True  # also where the store is gone: better said twice than never

    def _require_one_kind_of_device(self) -> None:
        """Refuse GPUs in some processes and processors in others."""
        self.store.set(f"device/{self.rank}", self.device.type)
        kinds = [self.store.get(f"device/{rank}").decode() for rank in range(self.size)]
        if len(set(kinds)) > 1:
            raise ConfigError(
                f"expected a GPU in every process or in none, found {', '.join(kinds)}",
                location="device",
                hint="choose --device cpu, or machines that all have GPUs",
            )


def _leave() -> None:
    """Leave the group when all is done; after a failure others may never do their part of it."""
    if dist.is_initialized() and not Group.is_broken:
        gc.collect()  # gradients' buckets hold on to it
        dist.destroy_process_group()


def _device(wanted: str) -> torch.device:
    """The device of this process: a GPU of its own, where there are GPUs and they are wanted."""
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    number, n_devices = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= n_devices:
        raise ConfigError(
            f"expected a GPU for each process of this machine, found {n_devices}",
            location="torchrun",
            hint=f"start at most {n_devices} processes on it, or choose --device cpu",
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)
