"""Checkpoints: an interrupted run resumes after its last epoch and gives the same model.

A run trains one or more networks (:mod:`token2wave.training.run`), always in the same order. The checkpoint
is one safetensors file. For each network so far it holds the whole state of the trainer after its last epoch,
or the best weights once it is trained. The steps in between are deterministic and run again. The file is
replaced atomically, so a killed run leaves the state of the previous epoch. Checksums reveal damage.
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

from token2wave.errors import CheckpointError, ModelFileError
from token2wave.storage.atomic import atomic_write
from token2wave.storage.model_file import parse_header
from token2wave.storage.outputs import is_of_type
from token2wave.storage.safetensors_writer import write_arrays
from token2wave.training.callbacks import Epoch, History
from token2wave.training.distributed import rank, require_same

FORMAT_VERSION = 2
MAX_RESTARTS = 12  # of a network's training, each with a tenth of the learning rates
KEY = "token2wave.checkpoint"
READ_ERRORS = (
    *(SafetensorError, ModelFileError, ValueError, KeyError, TypeError, IndexError, RecursionError),
    AttributeError,  # safetensors asks numpy for types that it lacks
)

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class NetworkCheckpoint:
    """The state of training one network.

    Attributes:
        history: the epochs so far.
        restart: restarts so far with smaller learning rates.
        arrays: of the trainer by name; of the network alone once it is trained.
        values: plain data of the trainer.
        done: whether training is complete.
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
        identity: everything that the result depends on, as plain data for JSON.
        networks: the networks so far.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], networks: list[NetworkCheckpoint]) -> None:
        self.path, self.identity, self.networks = path, identity, networks
        self._n_begun = 0

    @classmethod
    def open(cls, path: Path, identity: Mapping[str, Any], resume: bool) -> Checkpoint:
        """Begin a checkpoint or, with ``resume``, read that of an interrupted run if there is one.

        Raises:
            CheckpointError: there is a file that must not be resumed, is damaged, or belongs to another run.
            OutputError: the file cannot be written.
        """
        require_free_path(path, resume)
        previous, networks = read_checkpoint(path) if resume and path.exists() else (identity, [])
        require_same({"checkpoint": [_plain(saved) for saved in networks]})
        for name, value in json.loads(json.dumps(identity)).items():
            old = previous.get(name)
            if old != value:
                raise CheckpointError(
                    f"expected a checkpoint of this run, found one of another: {name} was "
                    f"{_shorten(old, value)}, and is now {_shorten(value, old)}",
                    location=str(path),
                    hint="train with the data and settings it was begun with, or remove it",
                )
        return cls(path, identity, networks)

    def next_network(self) -> CheckpointSlot:
        """The slot of the network that is trained next."""
        self._n_begun += 1
        return CheckpointSlot(self, self._n_begun - 1)

    def write(self) -> None:
        """Write the file; only rank 0 does.

        Raises:
            OutputError: the file cannot be written.
        """
        if rank():
            return
        tensors = {
            f"{number}.{name}": np.ascontiguousarray(array)
            for number, saved in enumerate(self.networks)
            for name, array in saved.arrays.items()
        }
        header = {
            "format_version": FORMAT_VERSION,
            "identity": self.identity,
            "networks": [_plain(saved) for saved in self.networks],
            "checksums": _checksums(tensors),
        }
        text = json.dumps(header)
        with atomic_write(self.path) as temporary:
            write_arrays(temporary, tensors, {KEY: text, f"{KEY}.checksum": str(zlib.crc32(text.encode()))})

    def remove(self) -> None:
        """Remove the file at the end of the run; only rank 0 does."""
        if not rank():
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class CheckpointSlot:
    """The place of one network, by its number from 0, in a checkpoint."""

    checkpoint: Checkpoint
    number: int

    @property
    def saved(self) -> NetworkCheckpoint | None:
        """The state of the network when the run was interrupted; None if its training had not begun."""
        networks = self.checkpoint.networks
        return networks[self.number] if self.number < len(networks) else None

    def save(self, saved: NetworkCheckpoint) -> None:
        """Save the current state of the network's training, or raise :class:`OutputError`."""
        if saved.done:  # a copy, because the network changes later and the file is written again then
            arrays = {name: np.array(array) for name, array in saved.arrays.items()}
            saved = replace(saved, history=replace(saved.history), arrays=arrays)
        self.checkpoint.networks[self.number :] = [saved]
        self.checkpoint.write()


def require_free_path(path: Path, resume: bool) -> None:
    """Refuse to replace a checkpoint that the run does not resume.

    Raises:
        CheckpointError: there is one.
    """
    if not resume and is_of_type(path, "checkpoint"):
        hint = "resume it with --resume, or remove it"
        raise CheckpointError("found an existing checkpoint", location=str(path), hint=hint)


def _plain(saved: NetworkCheckpoint) -> dict[str, Any]:
    """Plain data for JSON; numbers come back bit for bit."""
    history = saved.history
    return {
        "epochs": [asdict(epoch) for epoch in history.epochs],
        "best": None if history.best is None else history.epochs.index(history.best),
        "train_seconds": history.train_seconds,
        "texts_per_second": history.texts_per_second,
        "restart": saved.restart,
        "values": dict(saved.values),
        "done": saved.done,
    }


def _from_plain(plain: dict[str, Any], arrays: Arrays) -> NetworkCheckpoint:
    """Reverse :func:`_plain`; a value of the wrong type raises ``ValueError``."""
    epochs = [Epoch(**epoch) for epoch in plain["epochs"]]
    numbers = [value for epoch in epochs for value in vars(epoch).values() if value is not None]
    numbers += [plain["restart"], plain["train_seconds"], plain["texts_per_second"]]
    if not all(type(number) in (int, float) for number in numbers) or type(plain["restart"]) is not int:
        raise ValueError("expected numbers in the history of a network")
    if not 0 <= plain["restart"] <= MAX_RESTARTS:
        raise ValueError(f"expected 0 to {MAX_RESTARTS} restarts")
    if not isinstance(plain["values"], dict) or not isinstance(plain["done"], bool):
        raise ValueError("expected values by name, and whether a network is done")
    best = None if plain["best"] is None else epochs[plain["best"]]
    history = History(epochs, best, plain["train_seconds"], plain["texts_per_second"])
    return NetworkCheckpoint(history, plain["restart"], arrays, plain["values"], plain["done"])


def read_checkpoint(path: Path) -> tuple[dict[str, Any], list[NetworkCheckpoint]]:
    """Read a checkpoint.

    Raises:
        CheckpointError: the file is damaged, is no checkpoint, or has another version.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            header = parse_header(metadata[KEY])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dictionary
        if header["format_version"] != FORMAT_VERSION:
            raise CheckpointError(
                f"expected format {FORMAT_VERSION}, found {header['format_version']}",
                location=str(path),
                hint="resume with the version of token2wave that wrote it, or remove it",
            )
        is_header_intact = metadata[f"{KEY}.checksum"] == str(zlib.crc32(metadata[KEY].encode()))
        if not is_header_intact or header["checksums"] != _checksums(arrays):
            raise ValueError("wrong checksum")
        networks = []
        for number, plain in enumerate(header["networks"]):
            prefix = f"{number}."
            own = {n.removeprefix(prefix): array for n, array in arrays.items() if n.startswith(prefix)}
            networks.append(_from_plain(plain, own))
        return dict(header["identity"]), networks
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror or error}", location=str(path)) from error
    except READ_ERRORS as error:
        raise CheckpointError(
            f"expected a checkpoint, found a file that is damaged or something else ({error})",
            location=str(path),
            hint="remove it, and train from the beginning",
        ) from error


def _checksums(arrays: Arrays) -> dict[str, int]:
    return {name: zlib.crc32(array.tobytes()) for name, array in arrays.items()}


def _shorten(value: Any, other: Any) -> str:
    """Write a value in few characters; of settings only those that differ."""
    if isinstance(value, dict) and isinstance(other, dict):
        value = {name: each for name, each in value.items() if other.get(name) != each}
    return f"{json.dumps(value):.120}"
