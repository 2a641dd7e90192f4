"""Configurations: frozen dataclasses that check their values and refuse unknown keys."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import re
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, wraps
from typing import Any, Self, TypeVar, get_type_hints

from token2wave.errors import ConfigError

R = TypeVar("R")
INTERNAL = {"internal": True}
"""Metadata of a field that the program sets: it is no option."""
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


def require(condition: bool, key: str, expected: str, value: object) -> None:
    """Raise a :class:`ConfigError` about a setting's value unless a condition holds."""
    if not condition:
        raise ConfigError(f"expected {expected}, found {value!r}", location=key)


def require_choice(value: str, key: str, choices: tuple[str, ...]) -> None:
    """Raise a :class:`ConfigError` unless a value is among the choices."""
    require(value in choices, key, "one of " + ", ".join(choices), value)


def parse_size(size: int | str, setting: str = "max_size") -> int:
    """Parse a size such as ``1000000``, ``"1MB"``, ``"300 kB"`` or ``"1.5MiB"``, in bytes.

    Raises:
        ConfigError: it is not a positive size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?)?b?\s*", str(size).lower())
    n_bytes = float(match[1]) * UNITS[match[2] or ""] if match else 0.0
    if not 1 <= n_bytes < 1 << 63:
        raise ConfigError(f"expected a size such as 1MB or 300kB, found {size!r}", location=setting)
    return int(n_bytes)


@dataclass(frozen=True)
class Configuration:
    """Base of all settings. They are made from plain data and become plain data."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make settings of plain data; a missing key takes its default.

        Raises:
            ConfigError: a key is unknown, or a value is illegal or of the wrong type.
        """
        settings: type = cls  # which mypy takes for hashable
        hints = _type_hints(settings)
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for key in values:
            if key not in fields:
                raise ConfigError(
                    f"unknown setting {key!r} for {cls.__name__}", hint="known are: " + ", ".join(fields)
                )
        for key, field in fields.items():
            if field.default is dataclasses.MISSING and key not in values:
                raise ConfigError(f"the setting {key!r} is missing for {cls.__name__}")
        return cls(**{key: _convert(cls, key, hints[key], value) for key, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold."""
        return dataclasses.asdict(self)

    def replace(self, **changes: Any) -> Self:
        """Copy with some settings changed, and check them again.

        Raises:
            ConfigError: as for :meth:`from_dict`.
        """
        current = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return self.from_dict(current | changes)


@cache
def _type_hints(cls: type) -> dict[str, Any]:
    """Types of the fields by name, once a class: this compiles annotations, and every fit makes settings."""
    return get_type_hints(cls)


def _convert(cls: type, key: str, hint: Any, value: Any) -> Any:
    """Check a value against its field's type. A whole number is accepted as a float."""
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


def option_fields(cls: type) -> list[dataclasses.Field[Any]]:
    """List the fields of a dataclass that are options."""
    return [field for field in dataclasses.fields(cls) if not field.metadata.get("internal")]


def describe_options(options: type) -> dict[str, str]:
    """Read the description of every option from the ``Attributes`` sections of dataclasses' docstrings."""
    described: dict[str, list[str]] = {field.name: [] for field in dataclasses.fields(options)}
    for cls in options.__mro__:
        lines = inspect.cleandoc(cls.__dict__.get("__doc__") or "").splitlines()  # none with python -OO
        for line in lines[lines.index("Attributes:") + 1 :] if "Attributes:" in lines else ():
            if not line.startswith(" "):
                break
            if begins := re.match(r"    (\w+): (.*)", line):
                text = described.setdefault(begins[1], [])
                text.append(begins[2])
            else:
                text.append(line.strip())
    return {name: " ".join(text) for name, text in described.items()}


def _summarise_options(
    classes: Iterable[type], fields: Collection[str], descriptions: Mapping[str, str]
) -> str:
    """Describe the everyday options in a sentence each, and name the others."""
    lines = []
    for cls in classes:
        names = [field.name for field in option_fields(cls) if field.name in fields]
        everyday = [name for name in getattr(cls, "EVERYDAY", ()) if name in names]
        short = {long: f" or {short}" for short, long in getattr(cls, "SHORT_NAMES", {}).items()}
        paragraphs = [
            f"{name}{short.get(name, '')}: {first_sentence(descriptions[name])}" for name in everyday
        ]
        others = ", ".join(name for name in names if name not in everyday)
        if others:
            paragraphs += [f"See help(token2wave.{cls.__name__}) for these and further ones: {others}."]
        lines += [line for text in paragraphs for line in textwrap.wrap(text, 75, subsequent_indent="    ")]
    return textwrap.indent("\n".join(lines), "    ")


def first_sentence(description: str) -> str:
    """Return the first sentence of a description."""
    return re.split(r"(?<=[^.][^.]\.) (?=[A-Z`])", description, maxsplit=1)[0]


def accept_options(
    *, leave_out: tuple[str, ...] = (), **option_classes: type
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Let callers of a function give the fields of frozen dataclasses as keyword arguments.

    The fields are declared, documented and checked in the dataclass alone. The function receives an
    instance of each class, by the name used here. Its signature shows the fields, and its docstring those
    that the class lists in ``EVERYDAY``; ``tools/write_stubs.py`` writes their types for editors.

    Args:
        leave_out: fields that the function decides itself. Callers cannot give them.
        option_classes: dataclasses with an ``Attributes`` section in their docstrings.
    """
    fields = {
        field.name: (key, field)
        for key, cls in option_classes.items()
        for field in option_fields(cls)
        if field.name not in leave_out
    }
    descriptions: dict[str, str] = {}
    short_names: dict[str, str] = {}
    for cls in option_classes.values():
        descriptions |= describe_options(cls)
        short_names |= getattr(cls, "SHORT_NAMES", {})

    options = _summarise_options(option_classes.values(), fields, descriptions)

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        signature = inspect.signature(function)
        parameters = [p for name, p in signature.parameters.items() if name not in option_classes]
        own_names = {parameter.name for parameter in parameters}

        @wraps(function)
        def call(*arguments: Any, **named: Any) -> R:
            values: dict[str, dict[str, Any]] = {key: {} for key in option_classes}
            for short, name in short_names.items():
                if short in named and name in named:
                    raise TypeError(f"{function.__name__}() got both {short!r} and {name!r}: leave out one")
                if short in named:
                    named[name] = named.pop(short)
            if unknown := sorted(named.keys() - own_names - fields.keys()):
                close = difflib.get_close_matches(unknown[0], fields, 1, 0.7)
                hint = f"did you mean {close[0]!r}?" if close else f"see help({function.__name__})"
                raise TypeError(f"{function.__name__}() has no option {unknown[0]!r}; {hint}")
            for name in named.keys() & fields.keys():
                values[fields[name][0]][name] = named.pop(name)
            return function(
                *arguments, **named, **{key: cls(**values[key]) for key, cls in option_classes.items()}
            )

        parameters += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=f.default)
            for name, (_, f) in fields.items()
        ]
        call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        call.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\nOptions:\n{options}\n"
        return call

    return decorate
