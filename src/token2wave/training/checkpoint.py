"""Checkpoints: a run that is interrupted goes on from its last epoch, and ends as if nothing had happened.

A run trains one or more networks (:mod:`token2wave.training.run`), always in the same order. The checkpoint
is one safetensors file that holds, of each network so far, the trainer's whole state after its last epoch, or
the weights of its best epoch once it is trained. All that is computed between has one result, and is computed
again. The file is written aside and renamed, so that a run that is killed leaves the state of the epoch
before; a checksum of every array tells a file that the disk has damaged.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from token2wave.errors import CheckpointError
from token2wave.storage.atomic import atomic_write, check_writable
from token2wave.storage.safetensors_writer import write_arrays
from token2wave.training.callbacks import Epoch, History

FORMAT_VERSION = 1
KEY = "token2wave.checkpoint"

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class NetworkCheckpoint:
    """Where the training of one network stands.

    Attributes:
        history: of its epochs so far.
        restart: how often it was started again with smaller rates.
        arrays: the trainer's by name; the network's alone, once it is trained.
        values: plain data of the trainer.
        done: whether it is trained.
    """

    history: History
    restart: int
    arrays: Arrays
    values: Mapping[str, Any] = field(default_factory=dict)
    done: bool = False


class Checkpoint:
    """The checkpoint of a run.

    Args:
        path: of the file.
        identity: all that the result depends on, as plain data.
        standings: of the networks so far.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], standings: list[NetworkCheckpoint]) -> None:
        self.path, self.identity, self.standings = path, identity, standings
        self._n_begun = 0

    @classmethod
    def open(cls, path: Path, identity: Mapping[str, Any], resume: bool) -> Checkpoint:
        """Begin a checkpoint, or read what an interrupted run left.

        Args:
            path: of the file.
            identity: all that the result depends on, as plain data that JSON can hold.
            resume: whether to go on from the file, if there is one.

        Raises:
            CheckpointError: there is a file, and it is not to be gone on from, is damaged, or of another run.
            OutputError: the place cannot be written to.
        """
        require_place(path, resume)
        if not path.exists():
            return cls(path, identity, [])
        found, standings = read_checkpoint(path)
        for name, value in json.loads(json.dumps(identity)).items():
            if found.get(name) != value:
                raise CheckpointError(
                    f"expected the checkpoint of this run, found one of another: {name} was "
                    f"{_short(found.get(name), value)}, and is now {_short(value, found.get(name))}",
                    location=str(path),
                    hint="train with what it was begun with, or remove it",
                )
        return cls(path, identity, standings)

    def next_network(self) -> CheckpointSlot:
        """The place of the network that is trained next."""
        self._n_begun += 1
        return CheckpointSlot(self, self._n_begun - 1)

    def write(self) -> None:
        """Write the file.

        Raises:
            OutputError: the place cannot be written to.
        """
        tensors = {
            f"{number}.{name}": np.ascontiguousarray(array)
            for number, standing in enumerate(self.standings)
            for name, array in standing.arrays.items()
        }
        header = {
            "format_version": FORMAT_VERSION,
            "identity": self.identity,
            "networks": [_plain(standing) for standing in self.standings],
            "checksums": {name: _checksum(array) for name, array in tensors.items()},
        }
        said = json.dumps(header)
        with atomic_write(self.path) as temporary:
            write_arrays(temporary, tensors, {KEY: said, f"{KEY}.checksum": str(zlib.crc32(said.encode()))})

    def remove(self) -> None:
        """Remove the file: the run is done."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class CheckpointSlot:
    """One network's place in a checkpoint.

    Attributes:
        checkpoint: of the run.
        number: of the network, from 0.
    """

    checkpoint: Checkpoint
    number: int

    @property
    def standing(self) -> NetworkCheckpoint | None:
        """Where its training stood when the run was interrupted; None if it had not begun."""
        standings = self.checkpoint.standings
        return standings[self.number] if self.number < len(standings) else None

    def keep(self, standing: NetworkCheckpoint) -> None:
        """Write down where its training stands now.

        Raises:
            OutputError: the place cannot be written to.
        """
        if standing.done:  # what becomes of the network must not change what later epochs write down again
            arrays = {name: np.array(array) for name, array in standing.arrays.items()}
            history = replace(standing.history)
            standing = replace(standing, history=history, arrays=arrays)
        self.checkpoint.standings[self.number :] = [standing]
        self.checkpoint.write()


def require_place(path: Path, resume: bool) -> None:
    """Find out before any work whether a checkpoint can stand in a place.

    Args:
        path: of the file.
        resume: whether one that is there is to be gone on from.

    Raises:
        CheckpointError: there is one, and it is not to be gone on from.
        OutputError: the place cannot be written to.
    """
    check_writable(path)
    if path.exists() and not resume:
        raise CheckpointError(
            "a checkpoint is there already",
            location=str(path),
            hint="go on from it with --resume, or remove it",
        )


def _plain(standing: NetworkCheckpoint) -> dict[str, Any]:
    """What JSON holds of a standing; numbers come back bit for bit."""
    history = standing.history
    return {
        "epochs": [asdict(epoch) for epoch in history.epochs],
        "best": None if history.best is None else history.epochs.index(history.best),
        "train_seconds": history.train_seconds,
        "texts_per_second": history.texts_per_second,
        "restart": standing.restart,
        "values": dict(standing.values),
        "done": standing.done,
    }


def _standing(plain: dict[str, Any], arrays: Arrays) -> NetworkCheckpoint:
    """The way back from :func:`_plain`.

    Raises:
        ValueError: something is not of its type.
    """
    epochs = [Epoch(**epoch) for epoch in plain["epochs"]]
    numbers = [value for epoch in epochs for value in vars(epoch).values() if value is not None]
    numbers += [plain["restart"], plain["train_seconds"], plain["texts_per_second"]]
    if not all(type(number) in (int, float) for number in numbers) or type(plain["restart"]) is not int:
        raise ValueError("expected numbers in the history of a network")
    if not isinstance(plain["values"], dict) or not isinstance(plain["done"], bool):
        raise ValueError("expected values by name, and whether a network is done")
    best = None if plain["best"] is None else epochs[plain["best"]]
    history = History(epochs, best, plain["train_seconds"], plain["texts_per_second"])
    return NetworkCheckpoint(history, plain["restart"], arrays, plain["values"], plain["done"])


def read_checkpoint(path: Path) -> tuple[dict[str, Any], list[NetworkCheckpoint]]:
    """Read a checkpoint.

    Raises:
        CheckpointError: it is damaged, of another origin, or of another version.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            header = json.loads(metadata[KEY])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dictionary
        if header["format_version"] != FORMAT_VERSION:
            raise CheckpointError(
                f"expected format {FORMAT_VERSION}, found {header['format_version']}",
                location=str(path),
                hint="go on with the version of token2wave that wrote it, or remove it",
            )
        if metadata[f"{KEY}.checksum"] != str(zlib.crc32(metadata[KEY].encode())):
            raise ValueError("a checksum is wrong")
        if header["checksums"] != {name: _checksum(array) for name, array in arrays.items()}:
            raise ValueError("a checksum is wrong")
        standings = []
        for number, plain in enumerate(header["networks"]):
            prefix = f"{number}."
            own = {n.removeprefix(prefix): array for n, array in arrays.items() if n.startswith(prefix)}
            standings.append(_standing(plain, own))
        return dict(header["identity"]), standings
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror or error}", location=str(path)) from error
    except (SafetensorError, ValueError, KeyError, TypeError, IndexError) as error:
        raise CheckpointError(
            f"expected a whole checkpoint, found a file that is damaged or of another kind ({error})",
            location=str(path),
            hint="remove it, and train from the beginning",
        ) from error


def _checksum(array: NDArray[Any]) -> int:
    return zlib.crc32(array.tobytes())


def _short(value: Any, other: Any) -> str:
    """A value in few characters; of settings only those that differ from the other's."""
    if isinstance(value, dict) and isinstance(other, dict):
        value = {name: each for name, each in value.items() if other.get(name) != each}
    return f"{json.dumps(value):.120}"
