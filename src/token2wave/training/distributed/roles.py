"""The leader's trainer, whose steps all processes take, and what the others do."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.core import n_threads
from token2wave.errors import RemoteError
from token2wave.features import Ragged
from token2wave.models import WaveConfig, WaveNetwork
from token2wave.training.callbacks import CallbackList
from token2wave.training.distributed.exchange import Exchange
from token2wave.training.distributed.group import Group
from token2wave.training.divergence import DivergenceError
from token2wave.training.examples import Examples
from token2wave.training.recipe import Recipe
from token2wave.training.result import Summary, TrainingResult
from token2wave.training.torch_trainer import TorchTrainer, precision_on

TEXTS_WORTH_SHARING = 256  # with fewer, the leader computes their logits sooner alone
SAID_IN_CALLS = (str, int, float, bool, type(None), dict)
OWN = ("callbacks", "command")  # arguments that may differ between processes


def run_together(lead: Callable[[Group], Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Be one of the processes that were started together, from the call of a training to its result.

    Args:
        lead: trains, as the first process does.
        args: of the call.
        kwargs: of the call, which must be the same in all processes.

    Raises:
        RemoteError: another process has failed, and says why.
        DistributedError: another process was lost.
    """
    group = Group(kwargs.get("device", "auto"))
    try:
        given = {f"argument {i + 1}": each for i, each in enumerate(args)} | dict(kwargs)
        group.require_same_call({name: _said(each) for name, each in given.items() if name not in OWN})
        if not group.is_leader:
            return follow(group)
        with _threads_of_all():
            try:
                result = lead(group)
            except BaseException:
                if not group.is_broken:
                    group.command("fail")
                raise
        _send_result(group, result)
        return result
    except BaseException as error:
        reason = group.ended_by(error)
        if reason is error:
            raise
        raise reason from error


class LeadingTrainer:
    """Trains a network in all processes; see :class:`token2wave.training.loop.Trainer`.

    Args:
        group: the processes, which this one leads.
        network: freshly made.
        train: what to learn from.
        recipe: the settings.
        seed: of the order of texts and all dropout.
        has_cls: whether a text's first feature is [CLS].
        warm_start: whether the network has been trained before, and goes on from there.
    """

    def __init__(
        self,
        group: Group,
        network: WaveNetwork,
        train: Examples,
        recipe: Recipe,
        seed: int,
        has_cls: bool,
        warm_start: bool,
    ) -> None:
        self.group = group
        recipe = recipe.replace(precision=precision_on(group.device, recipe.precision))
        arrays = {f"network.{name}": array for name, array in network.arrays().items()}
        group.command(
            "train",
            {**arrays, **_arrays_of(train)},
            config=network.config.to_dict(),
            recipe=recipe.to_dict(),
            seed=seed,
            has_cls=has_cls,
            warm_start=warm_start,
        )
        with group.in_step():
            exchange = Exchange(group, network)
        self.exchange = exchange
        self.trainer = TorchTrainer(network, train, recipe, seed, has_cls, warm_start, exchange)
        self.network = _SharedNetwork(group, network, exchange)

    def epoch(self, callback_list: CallbackList) -> tuple[float, float]:
        """Mean loss and accuracy of one pass, in which every process takes its part of every batch.

        Raises:
            DivergenceError: the loss stopped being a finite number.
            DistributedError: the processes do not have the same weights any more.
        """
        self.group.command("epoch")
        with self.group.in_step():
            return self.trainer.epoch(callback_list)

    def energy(self) -> float:
        """Sum of the squares of all weights as they are now."""
        return self.trainer.energy()

    def reset(self, recipe: Recipe) -> None:
        """Start again from the initial weights with another recipe."""
        self.group.command("reset", recipe=recipe.to_dict())
        self.trainer.reset(recipe)

    def snapshot(self) -> None:
        """Copy the current weights: they are the best so far."""
        self.group.command("keep")
        self.trainer.snapshot()

    def restore_best(self) -> None:
        """Return to the weights of the last snapshot."""
        self.group.command("restore")
        self.trainer.restore_best()

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Everything that later epochs depend on; it is the same in all processes, however many they are."""
        return self.trainer.state()

    def load_state(self, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> None:
        """Go on from where :meth:`state` was taken."""
        self.group.command("load_state", arrays, values=dict(values))
        self.trainer.load_state(arrays, values)

    def close(self) -> None:
        """Be done with training."""
        self.trainer.close()
        if not self.group.is_broken:
            self.group.command("close")


class _SharedNetwork:
    """What validation asks of a network whose logits all processes compute, each for a part of the texts."""

    def __init__(self, group: Group, network: WaveNetwork, exchange: Exchange) -> None:
        self.group, self.network, self.exchange = group, network, exchange
        self.config = network.config
        self.sent: Ragged | None = None

    def logits(self, features: Ragged) -> NDArray[np.float32]:
        """Compute the logits of ``N`` texts, ``(N, C)`` float32."""
        if len(features) < TEXTS_WORTH_SHARING:
            return self.network.logits(features)
        is_known = features is self.sent
        self.group.command("logits", {} if is_known else _arrays_of_features(features))
        self.sent = features
        with self.group.in_step():
            return self.exchange.logits_of_all(features)


def follow(group: Group) -> Any:
    """Take part in the leader's steps until it is done, and give what it gives.

    Raises:
        RemoteError: the leader, or another process, has failed.
    """
    follower = _Follower(group)
    try:
        while True:
            name, values, arrays = group.next_command()
            if name == "fail":
                raise RemoteError("the first process stopped")
            if name == "result":
                return _result(values, arrays)
            getattr(follower, name)(arrays, **values)
    finally:
        follower.close({})


class _Follower:
    """What a process does at the leader's commands; each has the command's name."""

    trainer: TorchTrainer | None = None
    exchange: Exchange
    features: Ragged

    def __init__(self, group: Group) -> None:
        self.group = group

    def train(self, arrays: dict[str, NDArray[Any]], **values: Any) -> None:
        """Hold a network and its training texts."""
        network = WaveNetwork(WaveConfig.from_dict(values["config"]))
        for name in network.config.parameter_shapes():
            network.load(name, arrays[f"network.{name}"])
        network.to(self.group.device)
        recipe = Recipe.from_dict(values["recipe"])
        with self.group.in_step():
            self.exchange = Exchange(self.group, network)
        self.trainer = TorchTrainer(
            network,
            _examples(arrays),
            recipe,
            values["seed"],
            values["has_cls"],
            values["warm_start"],
            self.exchange,
        )

    def epoch(self, _: Any) -> None:
        """Take this process's part of every step; what is wrong with the loss the leader sees, too."""
        assert self.trainer is not None
        try:
            with self.group.in_step():
                self.trainer.epoch(CallbackList(()))
        except DivergenceError:
            return

    def reset(self, _: Any, recipe: dict[str, Any]) -> None:
        """Go back to the weights before the first step."""
        assert self.trainer is not None
        self.trainer.reset(Recipe.from_dict(recipe))

    def keep(self, _: Any) -> None:
        """Copy the current weights: they are the best so far."""
        assert self.trainer is not None
        self.trainer.snapshot()

    def restore(self, _: Any) -> None:
        """Return to the weights of the last snapshot."""
        assert self.trainer is not None
        self.trainer.restore_best()

    def load_state(self, arrays: dict[str, NDArray[Any]], values: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        assert self.trainer is not None
        self.trainer.load_state(arrays, values)

    def logits(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Compute the logits of a part of some texts; of those before, if none come."""
        if arrays:
            self.features = _features(arrays)
        with self.group.in_step():
            self.exchange.logits_of_all(self.features)

    def close(self, _: Any) -> None:
        """Be done with a network."""
        if self.trainer is not None:
            self.trainer.close()
            self.trainer = None


@contextmanager
def _threads_of_all() -> Iterator[None]:
    """Let the native core compute with the threads of all processes of this machine, which wait meanwhile."""
    before = os.environ.get("OMP_NUM_THREADS")
    n_waiting = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if before is not None:
        os.environ["OMP_NUM_THREADS"] = str(n_threads() * n_waiting)
    try:
        yield
    finally:
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def _arrays_of(examples: Examples) -> dict[str, NDArray[Any]]:
    """Examples as arrays by name."""
    arrays: dict[str, NDArray[Any]] = {"labels": examples.class_ids, **_arrays_of_features(examples.features)}
    for name in ("weights", "targets", "positive_weights"):
        if getattr(examples, name) is not None:
            arrays[name] = getattr(examples, name)
    return arrays


def _arrays_of_features(features: Ragged) -> dict[str, NDArray[Any]]:
    return {"ids": features.ids, "offsets": features.offsets, "n_ordered": features.n_ordered}


def _examples(arrays: Mapping[str, NDArray[Any]]) -> Examples:
    """The way back from :func:`_arrays_of`."""
    return Examples(
        _features(arrays),
        arrays["labels"],
        arrays.get("weights"),
        arrays.get("targets"),
        arrays.get("positive_weights"),
    )


def _features(arrays: Mapping[str, NDArray[Any]]) -> Ragged:
    return Ragged(arrays["ids"], arrays["offsets"], arrays["n_ordered"])


def _send_result(group: Group, result: Any) -> None:
    """Send a :class:`token2wave.TrainingResult` to the others."""
    if group.size == 1:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        result.classifier.save(path)
        model = np.fromfile(path, dtype=np.uint8)
    group.command("result", {"model": model}, summary=result.summary.to_dict())


def _result(values: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Any:
    """The way back from :func:`_send_result`; None where nothing but the end was sent."""
    if not arrays:
        return None
    from token2wave.classifier import load

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        arrays["model"].tofile(path)
        return TrainingResult(load(path), Summary(**values["summary"]))


def _said(argument: Any) -> Any:
    """An argument of a call, or what kind of thing it is, as plain data."""
    if isinstance(argument, os.PathLike):
        return os.fspath(argument)
    return repr(argument) if isinstance(argument, SAID_IN_CALLS) else type(argument).__name__
