"""Read checkpoints in the layout of a public implementation: github.com/kevinraymond/wave-network.

That network makes two linear variants of each token, adds or multiplies their waves, takes the magnitude,
norms each token, averages the tokens and classifies the average. The network read here differs in this:

* There, padding has the embedding zero, of which the bias of a linear map makes a wave that counts in the
  global semantics. Here a text has the logits that it has there alone, without padding.
* There, 1e-8 is added to G before it divides. Here the rule for roots of
  :mod:`token2wave.waves.representation` makes this unnecessary.

Early versions of that network have no mask, and scale each combined wave to an energy of the whole text.
Their checkpoints have the same names. With modulation this multiplies magnitudes by the number of tokens,
which the norm takes out again; with interference it makes another network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from token2wave.errors import ModelFileError, type_name
from token2wave.models import WaveConfig, WaveNetwork

NAMES = (
    "embedding.weight",
    *(
        f"{name}.{kind}"
        for name in ("linear1", "linear2", "layer_norm", "classifier")
        for kind in ("weight", "bias")
    ),
)
"""Parameters of the public network, which has one layer."""
RENAMED = {"layer_norm": "norm", "classifier": "head"}
HINT = "give the state_dict of its WaveNetwork, with learnable_mode=False"


class PublicCheckpoint(NamedTuple):
    """A configuration, and the parameters of its :class:`WaveNetwork` by name."""

    config: WaveConfig
    parameters: dict[str, Tensor]

    def network(self) -> WaveNetwork:
        """Build the network in evaluation mode."""
        network = WaveNetwork(self.config).to(self.parameters["head.bias"].dtype)
        network.load_state_dict(self.parameters)
        return network.eval()


def read_public_checkpoint(
    state: Mapping[str, Tensor], operation: str = "modulation", *, norm_tokens: bool = True
) -> PublicCheckpoint:
    """Map the state of a public network to our configuration and parameters.

    Args:
        state: its parameters by name, as ``torch.load`` returns them.
        operation: its mode, ``modulation`` or ``interference``, which the state does not tell.
        norm_tokens: whether the norm is of each token, as in that network, or of their average. That matters
            for interference alone: with modulation all tokens of a text have the magnitude ``G G'``.

    Raises:
        ModelFileError: a parameter is missing, unknown, not of floating point, or of another shape.
        ConfigError: the operation is not registered.

    Example:
        >>> shapes = {"linear1": (8, 8), "linear2": (8, 8), "layer_norm": (8,), "classifier": (3, 8)}
        >>> state = {f"{name}.weight": torch.rand(shape) for name, shape in shapes.items()}
        >>> state |= {f"{name}.bias": torch.rand(shape[0]) for name, shape in shapes.items()}
        >>> config, parameters = read_public_checkpoint({**state, "embedding.weight": torch.rand(30, 8)})
        >>> config.n_rows, config.width, config.readout, tuple(parameters["layers.0.variants.weight"].shape)
        (30, 8, 'mean', (16, 8))
    """
    _check_names(state)
    n_rows, width, n_classes = _sizes(state)
    config = WaveConfig(
        n_rows=n_rows,
        n_classes=n_classes,
        width=width,
        operation=operation,
        restore="magnitude",
        readout="mean",
        norm_tokens=norm_tokens,
        dropout=0.0,
    )
    parameters = {"embedding.weight": state["embedding.weight"]}
    for kind in ("weight", "bias"):
        both = [state[f"{name}.{kind}"] for name in ("linear1", "linear2")]
        parameters[f"layers.0.variants.{kind}"] = torch.cat(both)  # our two linear maps are one, side by side
        parameters |= {f"{new}.{kind}": state[f"{old}.{kind}"] for old, new in RENAMED.items()}
    return PublicCheckpoint(config, parameters)


def _check_names(state: Mapping[str, Tensor]) -> None:
    """Refuse missing and unknown parameters, and values that are no numbers of floating point."""
    for name in state:
        if name in NAMES:
            continue
        problem = f"expected the parameters {', '.join(NAMES)}, found {name!r} among them"
        if str(name).startswith("wave_layers."):
            problem = f"expected one layer, found {name!r} of a network that norms the sums of its layers"
        elif name == "mode_weight":
            problem = "expected one operation, found 'mode_weight', which mixes two"
        raise ModelFileError(problem, location="checkpoint", hint=HINT)
    for name in NAMES:
        if name not in state:
            raise ModelFileError(
                f"expected a parameter {name!r}, found none", location="checkpoint", hint=HINT
            )
        tensor = state[name]
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            found = f"one of {tensor.dtype}" if isinstance(tensor, Tensor) else type_name(tensor)
            raise ModelFileError(
                f"expected a tensor of floating point, found {found}", location=name, hint=HINT
            )


def _sizes(state: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Rows of the embedding, width and classes, after a check of every shape."""
    for name, what in (("embedding.weight", "(rows, width)"), ("classifier.weight", "(classes, width)")):
        if state[name].ndim != 2:
            _refuse_shape(name, what, state[name])
    n_rows, width = state["embedding.weight"].shape
    n_classes = state["classifier.weight"].shape[0]
    shapes: dict[str, tuple[int, ...]] = {
        "classifier.weight": (n_classes, width),
        "classifier.bias": (n_classes,),
    }
    shapes |= {f"{name}.weight": (width, width) for name in ("linear1", "linear2")}
    vectors = ("linear1.bias", "linear2.bias", "layer_norm.weight", "layer_norm.bias")
    for name, expected in (shapes | dict.fromkeys(vectors, (width,))).items():
        if tuple(state[name].shape) != expected:
            _refuse_shape(name, f"{expected}, as the embedding has width {width}", state[name])
    return n_rows, width, n_classes


def _refuse_shape(name: str, expected: str, tensor: Tensor) -> None:
    found = tuple(tensor.shape)
    raise ModelFileError(f"expected the shape {expected}, found {found}", location=name, hint=HINT)
