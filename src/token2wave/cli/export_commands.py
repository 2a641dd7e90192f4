"""The command ``export``: a model in the format of another program."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from token2wave.cli.arguments import Json, Model, TextColumn, finish
from token2wave.errors import ConfigError
from token2wave.storage.atomic import check_writable

if TYPE_CHECKING:
    from token2wave.classifier import Classifier


class Format(NamedTuple):
    """A format that models are exported to.

    Attributes:
        module: where the function is that writes it; imported when it is asked for.
        function: its name. It takes a classifier and a path, and gives the size in bytes.
        meaning: what the file is.
        use: how to use it, with ``{path}`` where the file's name goes.
        takes_examples: whether the function takes ``examples``, texts to click on, too.
        is_folder: whether it is a folder, whose place the function checks before it begins.
    """

    module: str
    function: str
    meaning: str
    use: str
    takes_examples: bool = False
    is_folder: bool = False

    def write(self, classifier: Classifier, path: Path, examples: list[str]) -> int:
        """Write a classifier; gives the size in bytes."""
        options = {"examples": examples} if self.takes_examples else {}
        n_bytes: int = getattr(import_module(self.module), self.function)(classifier, path, **options)
        return n_bytes


FORMATS = {
    "onnx": Format(
        "token2wave.integrations.onnx",
        "export_onnx",
        "ONNX graph of the whole classifier, from feature ids to probabilities",
        "from token2wave.integrations.onnx import OnnxClassifier\n"
        "OnnxClassifier({path!r}).predict('A text.')",
    ),
    "html": Format(
        "token2wave.serving.html_file",
        "export_html",
        "web page that classifies, with model and program in it",
        "Open {path} in a browser; it needs no server and no network.\n"
        "If it is too large, make the model smaller first: token2wave compress --max-size 1MB",
        takes_examples=True,
    ),
    "huggingface": Format(
        "token2wave.integrations.huggingface",
        "export_huggingface",
        "folder for transformers, with model, tokenizer and model card",
        "import token2wave.integrations.huggingface\n"
        "from transformers import pipeline\n"
        "pipeline('text-classification', model={path!r})('A text.')",
        is_folder=True,
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
    examples: Annotated[
        Path | None, typer.Option(help="With html, a file of texts to click on: a line each, or a column.")
    ] = None,
    text_column: TextColumn = "text",
    as_json: Json = False,
) -> None:
    """Write a model in the format of another program."""
    from token2wave.classifier import load
    from token2wave.data import read_texts
    from token2wave.formatting import size

    if to not in FORMATS:
        raise ConfigError(f"expected one of {', '.join(FORMATS)}, found {to!r}", location="--to")
    chosen = FORMATS[to]
    if examples is not None and not chosen.takes_examples:
        raise ConfigError(
            f"has no place in a file of format {to}", location="--examples", hint="leave it out"
        )
    if not chosen.is_folder:
        check_writable(out)
    texts = [] if examples is None else read_texts(examples, text_column=text_column)
    n_bytes = chosen.write(load(model), out, texts)
    if not as_json:
        print(f"{out}: {size(n_bytes)}, {chosen.meaning}")
        print(f"To use it:\n{chosen.use.format(path=str(out))}")
    finish({"format": to, "path": str(out), "bytes": n_bytes}, as_json)
