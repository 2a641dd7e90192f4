"""The commands that use a trained model: ``evaluate``, ``predict``, ``compress``, ``info``, ``explain``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from token2wave.cli.arguments import (
    DATA_HELP,
    Json,
    LabelColumn,
    Model,
    TextColumn,
    finish,
)
from token2wave.cli.option_parameters import takes_options
from token2wave.errors import ConfigError
from token2wave.options import DataOptions
from token2wave.reporting import terminal
from token2wave.storage.atomic import atomic_write, check_writable

if TYPE_CHECKING:
    from token2wave.inference.prediction import Prediction

NO_LABEL = "-"  # where the classifier abstains


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (evaluate, predict, compress, info, explain):
        app.command()(command)


@takes_options(DataOptions, leave_out=("multi_label", "weight_column"))
def evaluate(
    model: Model,
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    options: dict[str, Any],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    as_json: Json = False,
) -> None:
    """Evaluate a model on labelled data."""
    from token2wave.classifier import load
    from token2wave.evaluation import evaluate as run

    classifier = load(model)
    with terminal.progress() as callback:
        result = run(
            classifier,
            data,
            split=split,
            **options,
            callbacks=[callback],
        )
    terminal.print_evaluation(result.evaluation)
    terminal.print_novelty(result.figures["mean_novelty"])
    finish({**result.figures, "model_bytes": model.stat().st_size}, as_json)


def predict(
    model: Model,
    text: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts to classify.")] = None,
    file: Annotated[Path | None, typer.Option(help="File of texts: a line each, or a column.")] = None,
    text_column: TextColumn = "text",
    top_k: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 1,
    abstain_below: Annotated[
        float, typer.Option(min=0, max=1, help="Give no label where its probability is below this.")
    ] = 0.0,
    abstain_above_novelty: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Give no label to a text that is less like training than this share of texts."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Classify texts: those given, those of a file, or the lines of standard input."""
    from token2wave.classifier import load
    from token2wave.formatting import printable
    from token2wave.inference.prediction import prediction_to_dict

    if text and file is not None:
        raise ConfigError(
            "expected texts or a file, found both", location="--file", hint="leave one of them out"
        )
    classifier = load(model)
    if abstain_above_novelty is not None and classifier.novelty_reference is None:
        raise ConfigError(
            "the model does not know which texts are novel",
            location="--abstain-above-novelty",
            hint="train it again, with texts held back for validation",
        )
    several = classifier.multi_label
    if several and abstain_below:
        raise ConfigError(
            "a model of several labels abstains where no label reaches its threshold",
            location="--abstain-below",
            hint="leave it out",
        )
    texts = _texts(text, file, text_column)
    with terminal.progress() as callback:
        callback.on_stage("prediction", len(texts))
        novelty = as_json or abstain_above_novelty is not None
        predictions = classifier.predict_batch(texts, top_k, callback.on_advance, novelty)

    def abstains(prediction: Prediction) -> bool:
        novel = abstain_above_novelty is not None and (prediction.novelty or 0) > abstain_above_novelty
        return novel or prediction.probability < abstain_below

    if not as_json:
        for line, prediction in zip(texts, predictions, strict=True):
            shown = _shown(prediction, several, top_k, abstains(prediction))
            classes = "\t".join(f"{printable(label)}\t{share:.4f}" for label, share in shown)
            print(f"{classes}\t{printable(line)}")
    documents = [
        {"text": line, **prediction_to_dict(prediction, several, abstains(prediction))}
        for line, prediction in zip(texts, predictions, strict=True)
    ]
    finish(documents, as_json)


def compress(
    model: Model,
    out: Annotated[Path, typer.Option(help="Where the small model file goes.")],
    max_size: Annotated[
        str | None, typer.Option(help="Most bytes of the file, e.g. 1MB; without it no row is dropped.")
    ] = None,
    storage: Annotated[
        str, typer.Option(help="float32, float16, int8, lzma, or auto: lzma with --max-size, else int8.")
    ] = "auto",
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Training data; by default what the model was trained on."),
    ] = None,
    retrain: Annotated[
        bool, typer.Option(help="Train the rows that stay again, where validation is the better for it.")
    ] = True,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    as_json: Json = False,
) -> None:
    """Write a smaller model file, and say what that costs in accuracy."""
    from token2wave.compression import compress as run

    with terminal.progress() as callback:
        summary = run(
            model,
            out,
            data=data,
            max_size=max_size,
            storage=storage,
            retrain=retrain,
            text_column=text_column,
            label_column=label_column,
            callbacks=[callback],
        ).summary
    if not as_json:
        terminal.print_compression(out, summary)
    finish(summary, as_json)


def info(model: Model, as_json: Json = False) -> None:
    """Show what a model file holds."""
    from token2wave.classifier import load

    classifier = load(model)
    document = {**classifier.description(), "model_bytes": model.stat().st_size}
    if not as_json:
        terminal.print_info(model, document)
    finish(document, as_json)


def explain(
    model: Model,
    text: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts to explain.")] = None,
    file: Annotated[Path | None, typer.Option(help="File of texts: a line each, or a column.")] = None,
    text_column: TextColumn = "text",
    unit: Annotated[
        str, typer.Option(help="Parts to leave out one at a time: token, word or sentence.")
    ] = "word",
    html: Annotated[Path | None, typer.Option(help="Write a page that shows the texts in colour.")] = None,
    as_json: Json = False,
) -> None:
    """Show what each part of a text does to its prediction; exact, not sampled."""
    from token2wave.classifier import load
    from token2wave.explanation import explanation_page, print_explanation

    if text and file is not None:
        raise ConfigError(
            "expected texts or a file, found both", location="--file", hint="leave one of them out"
        )
    if html is not None:
        check_writable(html)
    classifier = load(model)
    texts = _texts(text, file, text_column)
    with terminal.progress() as callback:
        callback.on_stage("explanation", len(texts))
        explanations = []
        for one in texts:
            explanations.append(classifier.explain(one, unit))
            callback.on_advance(1)
    if html is not None:
        page = explanation_page(explanations, f"Explained by {model.name}")
        with atomic_write(html) as aside:
            aside.write_text(page, encoding="utf-8")
    if not as_json:
        for explanation in explanations:
            print_explanation(explanation)
        if html is not None:
            print(f"page: {html}")
    finish([explanation.to_dict() for explanation in explanations], as_json)


def _shown(prediction: Prediction, several: bool, top_k: int, abstains: bool) -> list[tuple[str, float]]:
    """Classes of a text as a line shows them: those given, or the best where more were asked for."""
    if several and top_k == 1 and not abstains:
        given = list(zip(prediction.labels, prediction.probabilities, strict=True))
        return given or [(NO_LABEL, prediction.probability)]
    first, *others = prediction.top
    if abstains:
        first = NO_LABEL, prediction.probability
    return [first, *others]


def _texts(given: list[str] | None, file: Path | None, text_column: str) -> list[str]:
    if given:
        return given
    if file is not None:
        from token2wave.data import read_texts

        return read_texts(file, text_column=text_column)
    from token2wave.data import read_stream

    if sys.stdin.isatty():
        print("reading texts, one a line; end with Ctrl-D", file=sys.stderr)
    return read_stream(sys.stdin.buffer, "standard input")
