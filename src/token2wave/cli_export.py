"""The command ``export``: a model in the format of another program."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from token2wave.cli_options import Json, Model, finish
from token2wave.errors import ConfigError
from token2wave.runtime.files import check_writable

if TYPE_CHECKING:
    from token2wave.classifier import Classifier


class Format(NamedTuple):
    """A format that models are exported to.

    Attributes:
        module: where the function is that writes it; imported when it is asked for.
        function: its name. It takes a classifier and a path, and gives the size in bytes.
        meaning: what the file is.
        use: how to use it, with ``{path}`` where the file's name goes.
    """

    module: str
    function: str
    meaning: str
    use: str

    def write(self, classifier: Classifier, path: Path) -> int:
        """Write a classifier; gives the size in bytes."""
        n_bytes: int = getattr(import_module(self.module), self.function)(classifier, path)
        return n_bytes


FORMATS = {
    "onnx": Format(
        "token2wave.integrations.onnx",
        "export_onnx",
        "ONNX graph of the whole classifier, from feature ids to probabilities",
        "from token2wave.integrations.onnx import OnnxClassifier\n"
        "OnnxClassifier({path!r}).predict('A text.')",
    ),
}
"""Formats by the name that ``--to`` takes."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(export)


def export(
    model: Model,
    to: Annotated[str, typer.Option(help=f"Format: {', '.join(FORMATS)}.")],
    out: Annotated[Path, typer.Option(help="Where the exported model goes.")],
    as_json: Json = False,
) -> None:
    """Write a model in the format of another program."""
    from token2wave.loading import load
    from token2wave.training.summary import size

    if to not in FORMATS:
        raise ConfigError(f"expected one of {', '.join(FORMATS)}, found {to!r}", where="--to")
    check_writable(out)
    chosen = FORMATS[to]
    n_bytes = chosen.write(load(model), out)
    if not as_json:
        print(f"{out}: {size(n_bytes)}, {chosen.meaning}")
        print(f"To use it:\n{chosen.use.format(path=str(out))}")
    finish({"format": to, "path": str(out), "bytes": n_bytes}, as_json)
