"""The operations and read-outs that a network may use, by name, and the backends that compute them.

Register your own before you train or load a network that uses it (``CONTRIBUTING.md`` has a full example):

>>> from token2wave.models import register_operation
>>> from token2wave.waves import Wave
>>> def difference(first, second):
...     return Wave(first.real - second.real, first.imaginary - second.imaginary)
>>> register_operation("difference", difference)  # doctest: +SKIP

Torch trains it and predicts with it. Every other backend refuses it until it has its own implementation and
the entry names the backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from token2wave.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from token2wave.waves import Wave

NATIVE, NUMPY, PAGE, ONNX, HUGGING_FACE = "the native core", "numpy", "the page", "ONNX", "Hugging Face"
BACKENDS = (NATIVE, NUMPY, PAGE, ONNX, HUGGING_FACE)  # beside torch, which computes every entry
TORCH_BACKENDS = (HUGGING_FACE,)  # those that call the torch function


@dataclass(frozen=True)
class RegistryEntry:
    """A registered operation or read-out.

    Attributes:
        name: the name that configurations and model files use.
        function: the torch function, or ``module:function``, which is imported at first use.
        backends: the backends beside torch that compute it, from :data:`BACKENDS`.
        pools_states: whether a read-out pools the states of all tokens; else it reads out one wave.
    """

    name: str
    function: Callable[..., Any] | str
    backends: frozenset[str]
    pools_states: bool = False

    def torch_function(self) -> Callable[..., Any]:
        """Return the torch function."""
        if not isinstance(self.function, str):
            return self.function
        module, _, name = self.function.partition(":")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function


OPERATIONS: dict[str, RegistryEntry] = {}
READOUTS: dict[str, RegistryEntry] = {}


def register_operation(
    name: str, function: Callable[[Wave, Wave], Wave] | str, backends: Iterable[str] = TORCH_BACKENDS
) -> None:
    """Register an operation of two waves.

    Args:
        name: the value of ``WaveConfig.operation``.
        function: maps two waves of one shape to a wave of that shape; torch must be able to differentiate it.
        backends: the backends beside torch that compute it.

    Raises:
        ConfigError: the name is taken, or a backend is unknown.
    """
    _register(OPERATIONS, RegistryEntry(name, function, frozenset(backends)))


def register_readout(
    name: str, function: Callable[[Tensor, Tensor], Tensor] | str, backends: Iterable[str] = TORCH_BACKENDS
) -> None:
    """Register a read-out that pools the states of a text's tokens into the state of the text.

    Args:
        name: the value of ``WaveConfig.readout``.
        function: maps the states ``(T, D)`` of all tokens and the offsets ``(B + 1,)`` of the texts to
            ``(B, D)``, zeros for an empty text; torch must be able to differentiate it.
        backends: the backends beside torch that compute it.

    Raises:
        ConfigError: the name is taken, or a backend is unknown.
    """
    _register(READOUTS, RegistryEntry(name, function, frozenset(backends), pools_states=True))


def _register(table: dict[str, RegistryEntry], entry: RegistryEntry) -> None:
    if entry.name in table and table[entry.name] != entry:
        raise ConfigError(f"expected a new name, found {entry.name!r}, which is taken", hint="choose another")
    if unknown := sorted(entry.backends - set(BACKENDS)):
        expected = ", ".join(BACKENDS)
        raise ConfigError(f"expected backends from {expected}, found {unknown[0]!r}", location=entry.name)
    table[entry.name] = entry


def require_registered(name: str, key: str, table: dict[str, RegistryEntry]) -> None:
    """Refuse a name that is not registered.

    Raises:
        ConfigError: the name is not registered.
    """
    if name not in table:
        raise ConfigError(
            f"expected one of {', '.join(table)}, found {name!r}, which is not registered",
            location=key,
            hint=f"register it first with token2wave.models.register_{key}",
        )


register_operation("interference", "token2wave.waves:interference", BACKENDS)
register_operation("modulation", "token2wave.waves:modulation", BACKENDS)
# These two read out one wave: of the first token, and of the text. Both are sums over the tokens.
_register(READOUTS, RegistryEntry("cls", "token2wave.waves:first_token_wave", frozenset(BACKENDS)))
_register(READOUTS, RegistryEntry("text", "token2wave.waves:text_wave", frozenset(BACKENDS)))
register_readout("mean", "token2wave.waves:segment_mean")
