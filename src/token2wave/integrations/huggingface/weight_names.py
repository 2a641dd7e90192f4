"""Names of parameters here and in ``transformers``: one table, read in both directions."""

from __future__ import annotations

from token2wave.errors import ConfigError

PARTS = (
    ("embedding.", "network.embedding."),
    ("layers.", "network.layers."),
    ("norm.", "network.norm."),
    ("head.", "network.head."),
    ("context.", "network.context."),
    ("linear_svm.", "network.linear_svm."),
)
"""What a name begins with: in :meth:`token2wave.WaveConfig.parameter_shapes`, and in a saved model."""


def name_there(name: str) -> str:
    """Name in ``transformers`` of a parameter of a :class:`token2wave.WaveNetwork`.

    Raises:
        ConfigError: there is no such parameter.
    """
    return _renamed(name, PARTS)


def name_here(name: str) -> str:
    """The inverse of :func:`name_there`.

    Raises:
        ConfigError: there is no such parameter.
    """
    return _renamed(name, tuple((there, here) for here, there in PARTS))


def _renamed(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for old, new in table:
        if name.startswith(old):
            return new + name.removeprefix(old)
    known = ", ".join(f"{old}*" for old, _ in table)
    raise ConfigError(f"expected a parameter named like {known}, found {name!r}")
