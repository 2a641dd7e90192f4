"""Turns the fields of option dataclasses into options of a command."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any, get_args, get_type_hints

import typer

from token2wave.config import describe_options

METAVARS = {
    "test": "DATA",
    "class_weights": "WEIGHTS",
    "teacher": "NAME_OR_PATH",
    "unlabelled": "FILE",
    "init_from": "NAME_OR_PATH",
    "time_budget": "TIME",
    "max_size": "SIZE",
    "memory": "SIZE",
    "checkpoint": "FILE",
}


def takes_options(
    *option_classes: type, leave_out: tuple[str, ...] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option for every field of some dataclasses.

    Name, type, default and help come from the dataclass. The command receives them by name in ``options``,
    ready for the function that takes the dataclass's fields.

    Args:
        option_classes: dataclasses whose docstrings have an ``Attributes`` section.
        leave_out: fields that are not options of this command.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        fields = [
            (cls, field)
            for cls in option_classes
            for field in dataclasses.fields(cls)
            if field.name not in leave_out
        ]

        @wraps(command)
        def run(**values: Any) -> None:
            options = {field.name: values.pop(field.name) for _, field in fields}
            command(**values, options=parse_options(options))

        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in inspect.signature(command, eval_str=True).parameters.items()
            if name != "options"
        ]
        parameters = [
            *(p for p in own if p.default is inspect.Parameter.empty),
            *(parameter_of(cls, field) for cls, field in fields),
            *(p for p in own if p.default is not inspect.Parameter.empty),
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def parameter_of(cls: type, field: dataclasses.Field[Any]) -> inspect.Parameter:
    """One field as a parameter that typer understands."""
    hint, name = get_type_hints(cls)[field.name], field.name
    option = name.replace("_", "-")
    help_text = help_of(describe_options(cls)[name])
    kind: Any
    if hint is bool:
        kind, declared = bool, [f"--{option}"]
    elif hint == bool | None:
        kind, declared = bool | None, [f"--{option}/--no-{option}"]
    elif name == "settings":
        kind, declared, help_text = list[str] | None, ["--set"], f"{help_text} Repeatable."
    else:
        types = [each for each in (get_args(hint) or (hint,)) if each in (int, float)]
        plain = types[0] if types and str not in get_args(hint) else str
        kind, declared = (plain | None if field.default is None else plain), [f"--{option}"]
    metavar = "KEY=VALUE" if name == "settings" else METAVARS.get(name)
    annotation = Annotated[kind, typer.Option(*declared, metavar=metavar, help=help_text)]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=annotation
    )


def help_of(description: str) -> str:
    """The first sentence of a description, without markup."""
    plain = description.replace("``", "").replace("`", "")
    if not plain:
        return ""
    sentence = re.split(r"(?<=[^.][^.]\.) (?=[A-Z])", plain, maxsplit=1)[0]
    return sentence[0].upper() + sentence[1:]


def parse_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Parse the options that stand for more than a word: weights of classes, and settings.

    Raises:
        ConfigError: a setting that is not ``KEY=VALUE``.
    """
    from token2wave.training.presets import parse_setting, parse_value

    parsed = dict(options)
    if parsed.get("class_weights") is not None:
        parsed["class_weights"] = parse_value(parsed["class_weights"])
    if "settings" in parsed:
        parsed["settings"] = dict(map(parse_setting, parsed["settings"] or []))
    return parsed
