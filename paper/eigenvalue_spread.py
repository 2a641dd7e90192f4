"""How independent the dimensions of texts' states are, from the eigenvalues of their covariance."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from paper.rivals.transformer import TransformerNetwork
from token2wave.models import TextNetwork

if TYPE_CHECKING:
    from token2wave.features import Ragged

BATCH = 32  # the papers'
RATIOS = {
    "largest_share": "largest eigenvalue over the sum",
    "smallest_over_largest": "smallest over largest eigenvalue",
}
MEASURES = {**RATIOS, "effective_rank": "effective rank"}
SIGNS = {"largest_share": -1, "smallest_over_largest": 1, "effective_rank": 1}
"""1 where more independent dimensions have a larger value, -1 where they have a smaller one."""
PLACES = {"before": "before the norm", "after": "after the norm"}
"""Where a state is taken: what the norm in front of the classifier gets, and what the classifier gets."""

Spreads = dict[str, list[float]]
"""Each of :data:`MEASURES`, a value a batch."""


def covariance_eigenvalues(states: NDArray[np.floating]) -> NDArray[np.float64]:
    """Eigenvalues of the covariance of ``(N, D)`` states, largest first, ``(min(N - 1, D),)`` float64.

    ``N`` centred states span at most ``N - 1`` dimensions: all other eigenvalues are zero for every network.
    """
    centred = states.astype(np.float64) - states.mean(axis=0, dtype=np.float64)
    values: NDArray[np.float64] = np.linalg.svd(centred, compute_uv=False) ** 2 / (len(states) - 1)
    return values[: min(len(states) - 1, states.shape[1])]


def spread_measures(values: NDArray[np.float64]) -> dict[str, float]:
    """How evenly variance is spread over directions, from the eigenvalues, largest first.

    Returns:
        ``largest_share``, ``lambda_max / sum(lambda)``: 1 if all variance lies in one direction;
        ``smallest_over_largest``, ``lambda_min / lambda_max``: 1 if it is spread evenly; ``effective_rank``,
        ``exp(-sum p log p)`` of ``p = lambda / sum(lambda)`` (Roy and Vetterli 2007): the number of
        directions with the same entropy. Without any variance 1, 0 and 0.
    """
    total = values.sum()
    if not total > 0:
        return {"largest_share": 1.0, "smallest_over_largest": 0.0, "effective_rank": 0.0}
    variances = values / total
    positive = variances[variances > 0]
    return {
        "largest_share": float(variances[0]),
        "smallest_over_largest": float(values[-1] / values[0]),
        "effective_rank": float(np.exp(-(positive * np.log(positive)).sum())),
    }


def final_norm(network: TextNetwork) -> nn.Module:
    """The norm whose output the classifier gets: of the Wave network, or of the Transformer's last layer."""
    if isinstance(network, TransformerNetwork):
        return cast("nn.TransformerEncoderLayer", network.layers[-1]).norm2
    return cast("nn.Module", network.norm)


def text_states(network: TextNetwork, features: Ragged) -> dict[str, NDArray[np.float32]]:
    """[CLS] state of each text at each of :data:`PLACES`, ``(N, D)`` float32 each, without dropout."""
    batches: dict[str, list[torch.Tensor]] = {place: [] for place in PLACES}

    def collect(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        batches["before"].append(inputs[0].float().cpu())
        batches["after"].append(output.float().cpu())

    hook = final_norm(network).register_forward_hook(collect)
    order = np.argsort(features.lengths, kind="stable")  # no network changes the order of sorted texts
    try:
        network.logits(features.take(order))
    finally:
        hook.remove()
    states = {}
    for place, each in batches.items():
        values = torch.cat(each).numpy()
        states[place] = np.empty_like(values)
        states[place][order] = values
    return states


def measure_batches(states: NDArray[np.float32]) -> Spreads:
    """Each of :data:`MEASURES` in batches of 32 texts, in the order of the texts.

    The eigenvalues depend on the number of texts, so texts that do not fill a batch are left out; fewer than
    32 texts make one batch.
    """
    starts = range(0, max(1, len(states) // BATCH) * BATCH, BATCH)
    spreads = [spread_measures(covariance_eigenvalues(states[start : start + BATCH])) for start in starts]
    return {name: [spread[name] for spread in spreads] for name in MEASURES}
