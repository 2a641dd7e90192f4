"""Writes ``token2wave/__init__.pyi``: the public names, and functions with the options that they take.

An editor and a type checker cannot see the options that ``accept_options`` adds. A test compares the file.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import token2wave
from token2wave.config import option_fields
from token2wave.options import AuditOptions, DataOptions, TrainOptions

STUB = Path(token2wave.__file__).with_name("__init__.pyi")
HEADER = '''"""Types of the public names, for editors. Written by ``tools/write_stubs.py``."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

'''
NAMES = ("PathLike", "token2wave.options"), ("Callback", "token2wave.training.callbacks")
ALIASES = (*NAMES, ("ClassWeights", "token2wave.training.weighting"))


def render_stub() -> str:
    """Return the text of the stub."""
    types = {
        field.name: field.type
        for cls in (AuditOptions, TrainOptions, DataOptions)
        for field in option_fields(cls)
    }
    homes = {**token2wave._HOME, "Token2WaveError": "token2wave.errors"}
    functions = [name for name in homes if hasattr(getattr(token2wave, name), "__signature__")]
    bodies = [_render_function(name, types) for name in functions]
    imports = {name: f"from {home} import {name}" for name, home in ALIASES}
    imports |= {
        name: f"from {home} import {name} as {name}" for name, home in homes.items() if name not in functions
    }
    imports["__version__"] = "from token2wave.versions import __version__ as __version__"
    lines = sorted(imports.values(), key=lambda line: (line.split()[1], line.split()[3][0].islower(), line))
    return HEADER + "\n".join(lines) + "\n\n" + "\n".join(bodies)


def _render_function(name: str, types: dict[str, object]) -> str:
    function = getattr(token2wave, name)
    signature = inspect.signature(function)
    lines, is_keyword = [f"def {name}("], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not is_keyword:
            lines, is_keyword = [*lines, "    *,"], True
        annotation = parameter.annotation
        if annotation is parameter.empty:  # an option
            annotation = types[parameter.name]
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        lines.append(f"    {parameter.name}: {annotation}{default},".replace("'", '"'))
        for short, long in DataOptions.SHORT_NAMES.items():
            if parameter.name == long:
                lines.append(f"    {short}: {annotation} = ...,")
    summary = inspect.cleandoc(function.__doc__ or "").splitlines()[0]
    return "\n".join([*lines, f") -> {signature.return_annotation}:", f'    """{summary}"""', ""])


if __name__ == "__main__":
    STUB.write_text(render_stub(), encoding="utf-8")
