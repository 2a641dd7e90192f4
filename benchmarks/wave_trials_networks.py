"""Other waves, and other ways of training them: each changes one thing of a network that is made already.

What a network begins with is drawn before the change, so that all that is not changed begins as in the
unchanged network. Equation numbers are those of arXiv 2411.02674v4.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from token2wave.models import Batch, WaveConfig, WaveNetwork
from token2wave.models.wave_network import ContextBranch, Restore, WaveLayer
from token2wave.training.callbacks import CallbackList
from token2wave.training.recipe import Recipe
from token2wave.training.torch_trainer import TorchTrainer
from token2wave.waves import (
    Wave,
    context_waves,
    interference,
    modulation,
    root,
    segment_ids,
    segment_mean,
    text_wave,
)

SLOWEST_TURN = 0.01  # radians a token; the fastest turns by one
RADII = (1, 3, 8)
PERTURBATION = 0.02  # of the size of a batch's rows: arXiv 1605.07725 has 5 on texts whose norm is about 250
CONSISTENCY = 1.0  # alpha of arXiv 2106.14448
EPOCHS_AVERAGED = 3
SAMPLES_AN_EPOCH = 16  # of the exponential average, whose half-life is an epoch


class Phrases(ContextBranch):
    """The phrase level in steps that a trial may change; as it stands it is the package's."""

    def forward(self, embedded: Tensor, batch: Batch) -> Tensor:
        """Compute logits ``(B, C)`` from the embeddings ``(U, D)`` of the distinct tokens."""
        offsets = batch.ordered_offsets
        first, second = self.variants(embedded).index_select(0, batch.ordered).chunk(2, dim=1)  # (W, P) each
        states = self.states(self.overlay(first, second, offsets), offsets)
        logits: Tensor = self.head(self.dropout(self.read_out(states, offsets)))
        return logits

    def overlay(self, first: Tensor, second: Tensor, offsets: Tensor) -> Wave:
        """What the waves of each token's two variants are together, ``(W, P)``."""
        return self.operation(*context_waves(first, second, offsets, self.radius))

    def states(self, overlay: Wave, offsets: Tensor) -> Tensor:
        """State of each token, ``(W, P)``."""
        return F.gelu(self.linear(self.norm(overlay.concatenated)))

    def read_out(self, states: Tensor, offsets: Tensor) -> Tensor:
        """What stands for each text, from the states of its tokens."""
        return text_wave(states, torch.arange(states.shape[0]), offsets).concatenated


class Turned(Phrases):
    """Both waves of token ``j`` are turned by the angle ``rate[k] j``: its place in the text as a phase.

    Half of the dimensions stay as they are; the rates of the others fall from one radian a token to
    ``SLOWEST_TURN``, each by the same factor. A sum of two turned waves is the turned sum.
    """

    def overlay(self, first: Tensor, second: Tensor, offsets: Tensor) -> Wave:
        """Turn before the waves meet."""
        angles = places(offsets, len(first))[:, None] * turning_rates(first.shape[1])  # (W, P)
        cosine, sine = angles.cos(), angles.sin()
        waves = context_waves(first, second, offsets, self.radius)
        return self.operation(
            *(Wave(z.real * cosine - z.imaginary * sine, z.real * sine + z.imaginary * cosine) for z in waves)
        )


class Superposed(Phrases):
    """The magnitude of a token's neighbours is that of their superposition, each with a phase by distance.

    ``s[j] = |sum_d h[j - d] exp(i rate[k] d)|`` over distances ``d`` up to the radius, and the same to the
    right, in place of the root of the sum of squares: neighbours then interfere, and their order counts. The
    rates go from zero to pi in equal steps.
    """

    def overlay(self, first: Tensor, second: Tensor, offsets: Tensor) -> Wave:
        """Put superpositions in the magnitudes' place."""
        after = places(offsets, len(first))  # tokens of the text to the left of each
        before = offsets.diff().repeat_interleave(offsets.diff()) - 1 - after
        left = superposition(first, after, self.radius, left=True)
        right = superposition(second, before, self.radius, left=False)
        return self.operation(Wave(first, left), Wave(second, right))


class Windows(Phrases):
    """A third of the dimensions for each of the ``RADII``."""

    def overlay(self, first: Tensor, second: Tensor, offsets: Tensor) -> Wave:
        """Make the waves of each third apart."""
        parts = zip(
            first.tensor_split(len(RADII), dim=1), second.tensor_split(len(RADII), dim=1), RADII, strict=True
        )
        found = [self.operation(*context_waves(h, g, offsets, radius)) for h, g, radius in parts]
        return Wave(torch.cat([z.real for z in found], dim=1), torch.cat([z.imaginary for z in found], dim=1))


class TwoLayers(Phrases):
    """A second phrase level above the states of the first, added to them as eq. 8 has it."""

    def __init__(self, config: WaveConfig) -> None:
        super().__init__(config)
        width = config.context_width
        self.upper_variants = nn.Linear(width, 2 * width)
        self.upper_norm = nn.LayerNorm(2 * width)
        self.upper_linear = nn.Linear(2 * width, width)

    def states(self, overlay: Wave, offsets: Tensor) -> Tensor:
        """States of the lower layer and what the upper one makes of them."""
        lower = super().states(overlay, offsets)
        first, second = self.upper_variants(lower).chunk(2, dim=1)
        above = self.overlay(first, second, offsets).concatenated
        upper = F.gelu(self.upper_linear(self.upper_norm(above)))
        result: Tensor = lower + self.dropout(upper)
        return result


class BothInPhrases(Phrases):
    """The sum and the product of the two waves side by side, each with a norm of its own."""

    def __init__(self, config: WaveConfig) -> None:
        super().__init__(config)
        self.operation = side_by_side
        self.norm = nn.GroupNorm(2, 4 * config.context_width)  # type: ignore[assignment]
        self.linear = nn.Linear(4 * config.context_width, config.context_width)


class Largest(Phrases):
    """The largest state of the text's tokens in every dimension, in place of the text's wave."""

    def __init__(self, config: WaveConfig) -> None:
        super().__init__(config)
        self.head = nn.Linear(config.context_width, config.n_classes)

    def read_out(self, states: Tensor, offsets: Tensor) -> Tensor:
        """Zero for a text without words."""
        return segment_largest(states, offsets)


class MeanAndLargest(Phrases):
    """The mean state and the largest, in place of the text's wave, which is mean and deviation."""

    def read_out(self, states: Tensor, offsets: Tensor) -> Tensor:
        """Zero for a text without words."""
        return torch.cat([segment_mean(states, offsets), segment_largest(states, offsets)], dim=1)


def context(kind: type[Phrases]) -> Any:
    """A change of a network: its phrase level becomes one of a kind."""

    def change(network: WaveNetwork) -> None:
        if network.context is not None:
            network.context = kind(network.config)

    return change


def both_in_text(network: WaveNetwork) -> None:
    """The sum and the product of the text's two waves side by side, before the linear map."""
    layer, width = network.layers[0], network.config.width
    assert isinstance(layer, WaveLayer)
    layer.operation = side_by_side
    layer.restore.linear = nn.Linear(4 * width, width)


class Skip(Restore):
    """The real part goes past the linear map, too."""

    def forward(self, overlay: Wave) -> Tensor:
        """Restore the wave to a real state."""
        return super().forward(overlay) + overlay.real


def skip_in_text(network: WaveNetwork) -> None:
    """The real part of the text's wave is added to what the linear map makes of it."""
    layer = network.layers[0]
    assert isinstance(layer, WaveLayer)
    linear = layer.restore.linear
    layer.restore = Skip(network.config)
    layer.restore.linear = linear


def side_by_side(first: Wave, second: Wave) -> Wave:
    """Interference and modulation, ``(..., 2 D)`` each, where one operation has its two parts."""
    return Wave(interference(first, second).concatenated, modulation(first, second).concatenated)


def places(offsets: Tensor, n_rows: int) -> Tensor:
    """Place of each token in its text, from 0, ``(W,)`` int64."""
    return torch.arange(n_rows) - offsets[:-1].index_select(0, segment_ids(offsets, n_rows))


def turning_rates(width: int) -> Tensor:
    """Radians a token for each dimension, ``(width,)``: none for the first half."""
    turning = width - width // 2
    rates = torch.logspace(0, math.log10(SLOWEST_TURN), turning)
    return torch.cat([torch.zeros(width // 2), rates])


def superposition(values: Tensor, n_neighbours: Tensor, radius: int, *, left: bool) -> Tensor:
    """Magnitude of the neighbours on one side, each with a phase by its distance; see :class:`Superposed`.

    Args:
        values: ``(W, P)``.
        n_neighbours: ``(W,)``, tokens of the same text on that side.
        radius: how many count at most.
        left: which side.
    """
    rates = torch.linspace(0, math.pi, values.shape[1])
    real, imaginary = torch.zeros_like(values), torch.zeros_like(values)
    for distance in range(1, min(radius, len(values) - 1) + 1):
        if left:
            moved = F.pad(values[:-distance], (0, 0, distance, 0))
        else:
            moved = F.pad(values[distance:], (0, 0, 0, distance))
        moved = moved * (n_neighbours >= distance)[:, None]
        real = real + moved * torch.cos(rates * distance)
        imaginary = imaginary + moved * torch.sin(rates * distance)
    return root(real.square() + imaginary.square())


def segment_largest(values: Tensor, offsets: Tensor) -> Tensor:
    """Largest value of each segment, ``(B, P)``; zero for an empty one."""
    segments = segment_ids(offsets, len(values))[:, None].expand_as(values)
    empty = values.new_zeros(len(offsets) - 1, values.shape[1])
    return empty.scatter_reduce(0, segments, values, "amax", include_self=False)


class _Watching(TorchTrainer):
    """Knows the batch, and the rows of the embedding, of which it is asked the losses."""

    def __init__(self, network: Any, *others: Any) -> None:
        super().__init__(network, *others)

        def batch_of(_: nn.Module, given: tuple[Batch], __: Tensor) -> None:
            self.batch = given[0]

        def rows_of(_: nn.Module, __: Any, found: Tensor) -> None:
            self.embedded = found

        self.hooks = [
            network.register_forward_hook(batch_of),
            network.embedding.register_forward_hook(rows_of),
        ]

    def close(self) -> None:
        """Stop watching, too."""
        for hook in self.hooks:
            hook.remove()
        super().close()


class Adversarial(_Watching):
    """Learns half from rows moved by one step up the gradient of the loss (arXiv 1605.07725).

    The step's norm is a share of that of the batch's rows. Texts of a batch share their rows, and so the
    perturbation, too.
    """

    def _losses(self, logits: Tensor, truth: Tensor) -> Tensor:
        losses, embedded = super()._losses(logits, truth), self.embedded
        (gradient,) = torch.autograd.grad(losses.mean(), embedded, retain_graph=True)
        step = gradient * (PERTURBATION * embedded.detach().norm() / gradient.norm().clamp(min=1e-12))
        moved = self.network.of_embedded(embedded + step, self.batch)
        return (losses + super()._losses(moved, truth)) / 2


class TwoPasses(_Watching):
    """R-drop (arXiv 2106.14448): two passes with other dimensions dropped are to say the same.

    Features that are left out (``token_dropout``) are the same in both.
    """

    def _losses(self, logits: Tensor, truth: Tensor) -> Tensor:
        other = self.network(self.batch)
        losses = (super()._losses(logits, truth) + super()._losses(other, truth)) / 2
        p, q = F.log_softmax(logits, dim=1), F.log_softmax(other, dim=1)
        divergence = ((p.exp() - q.exp()) * (p - q)).sum(dim=1)  # both of Kullback and Leibler's
        return losses + CONSISTENCY / 4 * divergence


class LastEpochs(TorchTrainer):
    """Each epoch is judged, and kept, by the mean of the weights at the ends of the last few."""

    def _begin(self, recipe: Recipe) -> None:
        super()._begin(recipe)
        self.live: dict[str, Any] = {}
        self.ends: deque[dict[str, Any]] = deque(maxlen=EPOCHS_AVERAGED)

    def epoch(self, callback_list: CallbackList) -> tuple[float, float]:
        """Go on from the weights themselves, and leave their mean."""
        if self.live:
            self.network.load_state_dict(self.live)
        found = super().epoch(callback_list)
        self.live = copy.deepcopy(self.network.state_dict())
        self.network.load_state_dict(self.averaged())
        return found

    def averaged(self) -> dict[str, Any]:
        """Mean of the weights, the live ones among them."""
        self.ends.append(self.live)
        return {name: sum(end[name] for end in self.ends) / len(self.ends) for name in self.live}


class Exponential(LastEpochs):
    """Each epoch is judged, and kept, by an exponential average of the weights on the way."""

    def _begin(self, recipe: Recipe) -> None:
        super()._begin(recipe)
        self.steps, self.average = 0, copy.deepcopy(self.network.state_dict())

    def _losses(self, logits: Tensor, truth: Tensor) -> Tensor:
        steps_of_an_epoch = self.n_steps / self.recipe.epochs
        if self.steps % max(1, round(steps_of_an_epoch / SAMPLES_AN_EPOCH)) == 0:
            share = 1 - 0.5 ** (1 / SAMPLES_AN_EPOCH)
            for name, values in self.network.state_dict().items():
                self.average[name].lerp_(values, share)
        self.steps += 1
        return super()._losses(logits, truth)

    def averaged(self) -> dict[str, Any]:
        """The average."""
        return self.average
