"""The command ``export``: a model in the format of another program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from token2wave.cli.arguments import Json, ModelPath, Overwrite, one_of, print_json, read_input, takes_options
from token2wave.config import require_choice
from token2wave.errors import ConfigError
from token2wave.options import TextOptions
from token2wave.reporting.terminal import verbosity
from token2wave.storage.atomic import private_files

if TYPE_CHECKING:
    from token2wave.serving.page import ExportedPage

USAGE = {
    "onnx": """ONNX graph of the whole classifier, from feature ids to probabilities
To use it:
from token2wave.integrations.onnx import OnnxClassifier
OnnxClassifier({path!r}).predict('A text.')""",
    "html": """web page that classifies, with model and program in it
To use it:
Open {path} in a browser; it needs no server and no network.""",
    "huggingface": """folder for transformers, with model, tokenizer and model card
To use it:
import token2wave.integrations.huggingface
from transformers import pipeline
pipeline('text-classification', model={path!r})('A text.')""",
}
"""What each format is and how to use it."""
ENDINGS = {"onnx": ".onnx", "html": ".html", "huggingface": "-huggingface"}
"""What each format adds to the model's name, if no other is asked for."""


@takes_options(TextOptions)
def export(
    model: ModelPath,
    options: dict[str, Any],
    to: Annotated[str, typer.Option(help=f"Format: {', '.join(USAGE)}.", autocompletion=one_of(*USAGE))],
    out: Annotated[
        Path | None,
        typer.Option(help="File or folder to write; without it, beside the model and named after it."),
    ] = None,
    examples: Annotated[
        Path | None, typer.Option(help="For html, a file of example texts: a line each, or a column.")
    ] = None,
    max_size: Annotated[
        str, typer.Option(help="For html, the size of the page; a larger model is compressed to fit.")
    ] = "2MB",
    no_compress: Annotated[
        bool, typer.Option("--no-compress", help="For html, leave the model as it is, however large.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a model in the format of another program."""
    from token2wave.classifier import load
    from token2wave.formatting import size
    from token2wave.storage.outputs import Outputs

    require_choice(to, "--to", tuple(USAGE))
    if examples is not None and to != "html":
        raise ConfigError("only the format html has examples", location="--examples", hint="leave it out")
    out = model.with_name(model.stem + ENDINGS[to]) if out is None else out
    outputs = Outputs([model, examples], overwrite=overwrite)
    if to == "huggingface":
        outputs.check_folder(out)
    else:
        outputs.check_file(out, "ONNX file" if to == "onnx" else "page with a model")
    texts = [] if examples is None else read_input(None, examples, options)
    classifier = load(model)
    exported = None
    with private_files(outputs.is_private):
        if to == "onnx":
            from token2wave.integrations.onnx import export_onnx

            n_bytes = export_onnx(classifier, out, overwrite=overwrite)
        elif to == "html":
            from token2wave.serving.page import export_html

            exported = export_html(
                classifier,
                out,
                title=model.stem,
                examples=texts,
                max_size=None if no_compress else max_size,
                overwrite=overwrite,
            )
            n_bytes = exported.n_bytes
        else:
            from token2wave.integrations.huggingface import export_huggingface

            n_bytes = export_huggingface(classifier, out, overwrite=overwrite)
    if as_json:
        document = {"format": to, "path": str(out), "bytes": n_bytes}
        if exported is not None:
            document |= {
                "model_bytes": exported.model_bytes,
                "model_bytes_before": exported.model_bytes_before,
            }
        print_json(document)
    elif not verbosity.is_quiet:
        print(f"{out}: {size(n_bytes)}, {USAGE[to].format(path=str(out))}")
        if exported is not None:
            _print_compression(exported, model, max_size, len(texts))


def _print_compression(exported: ExportedPage, model: Path, max_size: str, n_examples: int) -> None:
    """Say what became of the model in a page, and what would be better."""
    from token2wave.formatting import size

    if exported.is_compressed:
        sizes = f"{size(exported.model_bytes_before)} to {size(exported.model_bytes)}"
        print(f"The model was compressed from {sizes}, so some of its predictions differ.")
        if n_examples:
            print(f"Examples that get another label: {exported.n_changed_examples} of {n_examples}.")
    if exported.problem is not None:
        print(f"The page is larger than {max_size}: {exported.problem}.")
    if exported.is_compressed or exported.problem is not None:
        better = f"token2wave compress {model} --data DATA --max-size 1MB --out small.safetensors"
        print(f"To lose less, compress with the training texts, and export that: {better}")
    if exported.is_compressed:
        print("To leave the model as it is: --no-compress")
