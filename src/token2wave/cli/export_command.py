"""The command ``export``: a model in the format of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from token2wave.cli.arguments import Json, ModelPath, Overwrite, one_of, print_json, read_input, takes_options
from token2wave.config import require_choice
from token2wave.errors import ConfigError
from token2wave.options import TextOptions
from token2wave.reporting.terminal import verbosity
from token2wave.storage.atomic import private_files

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
LARGE_PAGE = 5_000_000  # bytes, from which on the page is slow to send and to open


@takes_options(TextOptions)
def export(
    model: ModelPath,
    options: dict[str, Any],
    to: Annotated[str, typer.Option(help=f"Format: {', '.join(USAGE)}.", autocompletion=one_of(*USAGE))],
    out: Annotated[Path, typer.Option(help="File or folder to write.")],
    examples: Annotated[
        Path | None, typer.Option(help="For html, a file of example texts: a line each, or a column.")
    ] = None,
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
    outputs = Outputs([model, examples], overwrite=overwrite)
    if to == "huggingface":
        outputs.check_folder(out)
    else:
        outputs.check_file(out, "ONNX file" if to == "onnx" else "page with a model")
    texts = [] if examples is None else read_input(None, examples, options)
    classifier = load(model)
    with private_files(outputs.is_private):
        if to == "onnx":
            from token2wave.integrations.onnx import export_onnx

            n_bytes = export_onnx(classifier, out, overwrite=overwrite)
        elif to == "html":
            from token2wave.serving.page import export_html

            n_bytes = export_html(classifier, out, examples=texts, overwrite=overwrite)
        else:
            from token2wave.integrations.huggingface import export_huggingface

            n_bytes = export_huggingface(classifier, out, overwrite=overwrite)
    if as_json:
        print_json({"format": to, "path": str(out), "bytes": n_bytes})
    elif not verbosity.is_quiet:
        print(f"{out}: {size(n_bytes)}, {USAGE[to].format(path=str(out))}")
        if to == "html" and n_bytes > LARGE_PAGE:
            print("The page is large: for a small one, train the model with --max-size 1MB.")
