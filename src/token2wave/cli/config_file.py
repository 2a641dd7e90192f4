"""Options in a TOML file: ``--config`` reads them, and a run prints those that repeat it."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from token2wave.errors import ConfigError

FLAG = "--config"
_EXCLUDED = {"config", "help"}


def expand_config(params: list[Any], args: list[str], defaults: dict[str, Any]) -> list[str]:
    """Put the options of a command's ``--config`` file before those of the command line, which win.

    Args:
        params: parameters of the command, of typer.
        args: the command line.
        defaults: receives the values of the positional arguments.

    Raises:
        ConfigError: the file cannot be read, or names an option that the command does not have.
    """
    path = _find_path(args)
    if path is None:
        return args
    named = {}
    for param in params:
        for flag in param.opts:
            named[flag.lstrip("-").replace("-", "_")] = param
    named |= {param.name: param for param in params}
    expanded: list[str] = []
    for key, value in _read(path).items():
        param = named.get(key.replace("-", "_"))
        if param is None or param.name in _EXCLUDED:
            close = difflib.get_close_matches(key.replace("-", "_"), named.keys() - _EXCLUDED, 1)
            hint = f"did you mean {close[0]!r}?" if close else "see the options in the command's --help"
            raise ConfigError(f"there is no option {key!r}", location=path, hint=hint)
        if param.param_type_name == "argument":
            defaults[param.name] = value
        else:
            expanded += _flags(param, value)
    return expanded + args


def _find_path(args: list[str]) -> str | None:
    for number, arg in enumerate(args[: args.index("--")] if "--" in args else args):
        if arg == FLAG and number + 1 < len(args):
            return args[number + 1]
        if arg.startswith(f"{FLAG}="):
            return arg.removeprefix(f"{FLAG}=")
    return None


def _read(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", location=path) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problem = f"is not TOML: {error}"
        raise ConfigError(problem, location=path, hint='write lines such as out = "m.safetensors"') from error


def _flags(param: Any, value: Any) -> Iterator[str]:
    """Write a value as on the command line, whose parser then checks it."""
    flag = max(param.opts, key=len)
    if getattr(param, "is_flag", False) and isinstance(value, bool):
        yield from [flag] if value else param.secondary_opts[:1]
    elif param.multiple and isinstance(value, dict):
        for key, each in _flatten(value):
            yield f"{flag}={key}={json.dumps(each)}"
    elif param.multiple and isinstance(value, list):
        yield from (f"{flag}={each}" for each in value)
    elif isinstance(value, dict):
        yield f"{flag}={json.dumps(value)}"
    else:
        yield f"{flag}={','.join(map(str, value)) if isinstance(value, list) else value}"


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def render_toml(values: Mapping[str, Any]) -> str:
    """Write plain data as TOML, a line for each key; None is left out."""
    return "\n".join(f"{_key(key)} = {_value(value)}" for key, value in values.items() if value is not None)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
