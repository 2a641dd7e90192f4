"""Configuration is data: frozen dataclasses that validate themselves and refuse unknown keys."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, get_type_hints

from token2wave.errors import ConfigError

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


def require(condition: bool, key: str, expected: str, found: object) -> None:
    """Refuse a value of a setting.

    Raises:
        ConfigError: ``condition`` is false.
    """
    if not condition:
        raise ConfigError(f"expected {expected}, found {found!r}", location=key)


def require_choice(value: str, key: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not among the choices.

    Raises:
        ConfigError: it is not.
    """
    require(value in choices, key, "one of " + ", ".join(choices), value)


def parse_size(size: int | str, setting: str = "max_size") -> int:
    """Bytes of a size such as ``1000000``, ``"1MB"``, ``"300 kB"`` or ``"1.5MiB"``.

    Args:
        size: a number, or what is to be read.
        setting: whose it is, for the error.

    Raises:
        ConfigError: it is no positive size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?)?b?\s*", str(size).lower())
    n_bytes = float(found[1]) * UNITS[found[2] or ""] if found else 0.0
    if not 1 <= n_bytes < 1 << 63:
        raise ConfigError(f"expected a size such as 1MB or 300kB, found {size!r}", location=setting)
    return int(n_bytes)


@dataclass(frozen=True)
class Configuration:
    """Base of all settings: made from plain data, turned back into plain data."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from plain data; a missing key takes its default.

        Raises:
            ConfigError: an unknown key, a value of the wrong type, or an illegal value.
        """
        hints = get_type_hints(cls)
        names = [field.name for field in dataclasses.fields(cls)]
        for key in values:
            if key not in names:
                raise ConfigError(
                    f"unknown setting {key!r} for {cls.__name__}", hint="known are: " + ", ".join(names)
                )
        for field in dataclasses.fields(cls):
            if field.default is dataclasses.MISSING and field.name not in values:
                raise ConfigError(f"the setting {field.name!r} is missing for {cls.__name__}")
        return cls(**{key: _converted(cls, key, hints[key], value) for key, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold."""
        return dataclasses.asdict(self)

    def replace(self, **changes: Any) -> Self:
        """Copy with some settings changed, validated anew.

        Raises:
            ConfigError: as for :meth:`from_dict`.
        """
        current = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return self.from_dict(current | changes)


def _converted(cls: type, key: str, hint: Any, value: Any) -> Any:
    """Check a value against its field's type; JSON's whole numbers may stand for floats."""
    if hint is float and type(value) is int:
        value = float(value) if abs(value) < 1 << 53 else math.inf
    allowed = tuple(arg for arg in getattr(hint, "__args__", ()) if isinstance(arg, type))
    if getattr(hint, "__origin__", None) is tuple:
        if not isinstance(value, list | tuple) or any(type(item) is not hint.__args__[0] for item in value):
            expected = f"a list of {hint.__args__[0].__name__}"
            raise ConfigError(f"expected {expected}, found {value!r}", location=key)
        return tuple(value)
    types = allowed or (hint,)
    if type(value) not in types:
        names = " or ".join(t.__name__ for t in types).replace("NoneType", "null")
        raise ConfigError(f"expected {names}, found {value!r}", location=key)
    return value
