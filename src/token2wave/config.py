"""Configuration is data: frozen dataclasses that validate themselves and refuse unknown keys."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Self, TypeVar, get_type_hints

from token2wave.errors import ConfigError

R = TypeVar("R")
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


def describe_options(options: type) -> dict[str, str]:
    """Read the description of every option from the ``Attributes`` section of a dataclass's docstring."""
    lines = inspect.cleandoc(options.__doc__ or "").splitlines()
    if "Attributes:" not in lines:  # python -OO leaves docstrings out
        return {field.name: "" for field in dataclasses.fields(options)}
    described: dict[str, list[str]] = {}
    for line in lines[lines.index("Attributes:") + 1 :]:
        if not line.startswith(" "):
            break
        if begins := re.match(r"    (\w+): (.*)", line):
            described[begins[1]] = [begins[2]]
        else:
            described[next(reversed(described))].append(line.strip())
    return {name: " ".join(text) for name, text in described.items()}


def accept_options(
    *, leave_out: tuple[str, ...] = (), **option_classes: type
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Let callers of a function give the fields of frozen dataclasses as keyword arguments.

    The fields are declared, documented and checked in the dataclass alone. The function receives an
    instance of each class, by the name used here; its signature and docstring show the fields.

    Args:
        leave_out: fields that the function decides itself. Callers cannot give them.
        option_classes: dataclasses with an ``Attributes`` section in their docstrings.
    """
    owner = {
        field.name: key
        for key, cls in option_classes.items()
        for field in dataclasses.fields(cls)
        if field.name not in leave_out
    }

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        own = [
            parameter
            for name, parameter in inspect.signature(function).parameters.items()
            if name not in option_classes
        ]

        @wraps(function)
        def call(*arguments: Any, **arguments_by_name: Any) -> R:
            values: dict[str, dict[str, Any]] = {key: {} for key in option_classes}
            others: dict[str, Any] = {}
            for name, value in arguments_by_name.items():
                (values[owner[name]] if name in owner else others)[name] = value
            if unknown := sorted(others.keys() - {parameter.name for parameter in own}):
                close = difflib.get_close_matches(unknown[0], owner, 1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise TypeError(f"{function.__name__}() has no option {unknown[0]!r}{hint}")
            built = {key: cls(**values[key]) for key, cls in option_classes.items()}
            return function(*arguments, **others, **built)

        fields = [
            field
            for cls in option_classes.values()
            for field in dataclasses.fields(cls)
            if field.name in owner
        ]
        parameters = own + [
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type
            )
            for field in fields
        ]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        descriptions = {
            name: text for cls in option_classes.values() for name, text in describe_options(cls).items()
        }
        options = "\n".join(f"    {name}: {descriptions[name]}" for name in owner)
        call.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\nOptions:\n{options}\n"
        return call

    return decorate
