"""The command line: one thin function a command. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from token2wave import __version__, cli_studies, terminal
from token2wave.errors import ConfigError, Interruption, MissingExtraError, Token2WaveError
from token2wave.runtime.files import check_writable, written_aside

if TYPE_CHECKING:
    from token2wave.prediction import Prediction

app = typer.Typer(
    name="token2wave",
    help="Train, evaluate and use tiny text classifiers built on the Wave Network.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[
    bool, typer.Option("--json", help="Make the last line of standard output one JSON document.")
]
TextColumn = Annotated[str, typer.Option(help="Column of the texts, in files with columns.")]
LabelColumn = Annotated[str, typer.Option(help="Column of the labels, in files with columns.")]
LabelSeparator = Annotated[
    str | None,
    typer.Option(help="What stands between the labels of a text in one column; a text may have several."),
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Model file (.safetensors).")]
NO_LABEL = "-"  # where the classifier abstains
DATA_HELP = (
    "File (.csv, .tsv, .jsonl, .parquet, fastText .txt), folder with train and test files, built-in corpus "
    "(debian-sections), name of a folder in $TOKEN2WAVE_DATA, or owner/name on the Hugging Face hub."
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        print(f"token2wave {__version__}")
        raise typer.Exit


@app.command()
def train(
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    out: Annotated[Path | None, typer.Option(help="Where the model file goes.")] = None,
    test: Annotated[str | None, typer.Option(metavar="DATA", help="Data to evaluate on at the end.")] = None,
    preset: Annotated[str, typer.Option(help="small, fast or paper.")] = "small",
    op: Annotated[str | None, typer.Option(help="interference or modulation.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training texts.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Texts in a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same model.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    weight_column: Annotated[
        str | None, typer.Option(help="Column that says how much each training text counts.")
    ] = None,
    class_weights: Annotated[
        str | None,
        typer.Option(metavar="WEIGHTS", help='balanced, or the weight of labels, e.g. {"spam": 5}.'),
    ] = None,
    multi_label: Annotated[
        bool | None,
        typer.Option(
            "--multi-label/--no-multi-label",
            help="Whether a text may have several labels, or none; by default, if the data has lists.",
        ),
    ] = None,
    label_separator: LabelSeparator = None,
    vocabulary: Annotated[Path | None, typer.Option(help="WordPiece vocab.txt, for preset paper.")] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_PATH",
            help="Encoder (all-MiniLM-L6-v2, folder, hub name) or file of probabilities to learn from.",
        ),
    ] = None,
    unlabelled: Annotated[
        str | None, typer.Option(metavar="FILE", help="Text without labels, which the teacher labels.")
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(metavar="NAME_OR_PATH", help="Encoder whose outputs the words' rows begin with."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. network.width=256."),
    ] = None,
    baseline: Annotated[bool, typer.Option("--baseline", help="Also train TF-IDF + LinearSVC.")] = False,
    report: Annotated[Path | None, typer.Option(help="Folder for the JSON and HTML report.")] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Search for better settings, in all for so long: e.g. 60s, 5min or 2h."
        ),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(help="Search for better settings, trying so many at most.")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Most bytes of the model file, e.g. 1MB.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a classifier, and evaluate it where there is a test set."""
    if out is None and report is None and not as_json:
        raise ConfigError(
            "nothing would be kept of the run",
            where="--out",
            cure="name a file, e.g. --out model.safetensors",
        )
    from token2wave.presets import parse_setting, parse_value
    from token2wave.training.summary import lines
    from token2wave.training.train import train as run

    with terminal.progress() as callback:
        summary = run(
            data,
            out=out,
            test=test,
            preset=preset,
            op=op,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=lr,
            seed=seed,
            device=device,
            text_column=text_column,
            label_column=label_column,
            weight_column=weight_column,
            class_weights=None if class_weights is None else parse_value(class_weights),
            multi_label=multi_label,
            label_separator=label_separator,
            vocabulary=vocabulary,
            teacher=teacher,
            unlabelled=unlabelled,
            start_from=start_from,
            settings=dict(map(parse_setting, setting or [])),
            baseline=baseline,
            report=report,
            time_budget=time_budget,
            candidates=candidates,
            max_size=max_size,
            callbacks=[callback],
            command=shlex.join(["token2wave", *sys.argv[1:]]),
        ).summary
    for line in lines(summary):
        print(line)
    if out is not None:
        print(f"model: {out}")
    if report is not None:
        print(f"report: {report / 'report.html'}")
    _finish(summary.to_dict(), as_json)


@app.command()
def evaluate(
    model: Model,
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    label_separator: LabelSeparator = None,
    as_json: Json = False,
) -> None:
    """Evaluate a model on labelled data."""
    from token2wave.evaluate import evaluate as run
    from token2wave.loading import load

    classifier = load(model)
    with terminal.progress() as callback:
        result = run(
            classifier,
            data,
            split=split,
            text_column=text_column,
            label_column=label_column,
            label_separator=label_separator,
            callbacks=[callback],
        )
    terminal.print_evaluation(result.evaluation)
    terminal.print_novelty(result.figures["mean_novelty"])
    _finish({**result.figures, "model_bytes": model.stat().st_size}, as_json)


@app.command()
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
    from token2wave.loading import load
    from token2wave.training.summary import printable

    if text and file is not None:
        raise ConfigError(
            "expected texts or a file, found both", where="--file", cure="leave one of them out"
        )
    classifier = load(model)
    if abstain_above_novelty is not None and classifier.novelty_reference is None:
        raise ConfigError(
            "the model does not know which texts are novel",
            where="--abstain-above-novelty",
            cure="train it again, with texts held back for validation",
        )
    several = classifier.multi_label
    if several and abstain_below:
        raise ConfigError(
            "a model of several labels abstains where no label reaches its threshold",
            where="--abstain-below",
            cure="leave it out",
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
        {
            "text": line,
            **(
                {
                    "labels": _pairs(
                        []
                        if abstains(prediction)
                        else zip(prediction.labels, prediction.probabilities, strict=True)
                    )
                }
                if several
                else {
                    "label": None if abstains(prediction) else prediction.label,
                    "probability": prediction.probability,
                }
            ),
            "novelty": prediction.novelty,
            "top": _pairs(prediction.top),
        }
        for line, prediction in zip(texts, predictions, strict=True)
    ]
    _finish(documents, as_json)


@app.command()
def compress(
    model: Model,
    out: Annotated[Path, typer.Option(help="Where the small model file goes.")],
    max_size: Annotated[
        str | None, typer.Option(help="Most bytes of the file, e.g. 1MB; without it no row is dropped.")
    ] = None,
    storage: Annotated[
        str, typer.Option(help="float32, float16, int8, packed, or auto: packed with --max-size, else int8.")
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
    _finish(summary, as_json)


@app.command()
def info(model: Model, as_json: Json = False) -> None:
    """Show what a model file holds."""
    from token2wave.loading import load

    classifier = load(model)
    parameters = classifier.network.parameter_count()
    document = {
        "labels": list(classifier.label_names),
        **({"thresholds": list(classifier.thresholds)} if classifier.multi_label else {}),
        "parameters": parameters.total,
        "parameters_without_embedding": parameters.without_embedding,
        "model_bytes": model.stat().st_size,
        "features": {"kind": classifier.features.kind, **classifier.features.config.to_dict()},
        "network": classifier.network.config.to_dict(),
        "training": classifier.training,
        "versions": classifier.written_by,
        "computes_with": classifier.computes_with,
    }
    if not as_json:
        terminal.print_info(model, document)
    _finish(document, as_json)


@app.command()
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
    from token2wave.explanation import explanation_page, print_explanation
    from token2wave.loading import load

    if text and file is not None:
        raise ConfigError(
            "expected texts or a file, found both", where="--file", cure="leave one of them out"
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
        with written_aside(html) as aside:
            aside.write_text(page, encoding="utf-8")
    if not as_json:
        for explanation in explanations:
            print_explanation(explanation)
        if html is not None:
            print(f"page: {html}")
    _finish([explanation.to_dict() for explanation in explanations], as_json)


cli_studies.register(app)


def _shown(prediction: Prediction, several: bool, top_k: int, abstains: bool) -> list[tuple[str, float]]:
    """Classes of a text as a line shows them: those given, or the best where more were asked for."""
    if several and top_k == 1 and not abstains:
        given = list(zip(prediction.labels, prediction.probabilities, strict=True))
        return given or [(NO_LABEL, prediction.probability)]
    first, *others = prediction.top
    if abstains:
        first = NO_LABEL, prediction.probability
    return [first, *others]


def _pairs(classes: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"label": label, "probability": share} for label, share in classes]


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


def _finish(document: Any, as_json: bool) -> None:
    if as_json:
        print(json.dumps(document, allow_nan=False))


def _interrupt(*_: Any) -> None:
    raise Interruption("interrupted; nothing was written")


def main() -> None:
    """Run the command line; an error of ours is one line on standard error and exit status 2."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what the locale cannot show
    try:
        app()
    except Token2WaveError as error:
        terminal.print_error(error)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        terminal.print_error(MissingExtraError("torch", "train", purpose="this command"))
        sys.exit(2)
    except Interruption as error:
        terminal.print_error(Token2WaveError(str(error)))
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        terminal.print_error(Token2WaveError(f"{error.filename or 'output'}: {error.strerror or error}"))
        sys.exit(2)


if __name__ == "__main__":
    main()
