"""The commands that use a trained model: ``evaluate``, ``predict``, ``compress``, ``info``, ``explain``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from token2wave.cli.arguments import (
    Data,
    Json,
    ModelPath,
    Overwrite,
    TextFile,
    Texts,
    one_of,
    print_json,
    read_input,
    takes_options,
)
from token2wave.errors import ConfigError
from token2wave.options import PAIR_COLUMNS, TEXT, DataOptions, TextOptions
from token2wave.reporting import terminal
from token2wave.storage.atomic import atomic_write, private_files

if TYPE_CHECKING:
    from token2wave.classifier import Classifier
    from token2wave.data.text_files import TextTable
    from token2wave.inference.prediction import Prediction

NO_LABEL = "-"  # printed if the classifier abstains
SCORE_COLUMNS = ("score", "score_low", "score_high")
MAX_COUNTED = 8  # labels that are counted where the predictions go to a file
NOTHING_KNOWN = "(nothing known)"  # printed after a text of which the model knows no word and no n-gram


@takes_options(DataOptions, leave_out=("multi_label", "weight_column", "group_column"))
def evaluate(
    model: ModelPath,
    data: Data,
    options: dict[str, Any],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    errors: Annotated[
        Path | None,
        typer.Option(
            help="Table to write, .csv, .tsv or .xlsx: the wrong predictions, the surest first, with all "
            "columns of the data."
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Score each group of a column, e.g. language, source or date (by month); length is the "
            "number of words. May be repeated.",
        ),
    ] = None,
    cut: Annotated[
        float | None,
        typer.Option(help="Of a model of scores: the number that separates low from high scores in the AUC."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Evaluate a model on labelled data."""
    from token2wave.classifier import load
    from token2wave.evaluation import evaluate as run
    from token2wave.storage.outputs import protected

    classifier = load(model)
    with terminal.progress() as callback, protected(model):
        result = run(
            classifier,
            data,
            split=split,
            errors=errors,
            by=by or (),
            cut=cut,
            overwrite=overwrite,
            **options,
            callbacks=[callback],
        )
    for caveat in result.figures["caveats"]:
        terminal.print_note(caveat)
    if as_json:
        print_json({**result.figures, "model_bytes": model.stat().st_size})
    else:
        terminal.print_evaluation(result.headline, result.evaluation)
        for column, groups in result.groups.items():
            terminal.print_groups(column, groups)
        print()
        terminal.print_novelty(result.figures["mean_novelty"])
        if errors is not None and not terminal.verbosity.is_quiet:
            print(f"wrong predictions: {errors}, {len(result.errors['row']):,} rows")


@takes_options(TextOptions)
def predict(
    model: ModelPath,
    options: dict[str, Any],
    text: Texts = None,
    file: TextFile = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 1,
    abstain_below: Annotated[
        float, typer.Option(min=0, max=1, help="Give no label if its probability is below this.")
    ] = 0.0,
    abstain_above_novelty: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Give no label to a text whose novelty is above this."),
    ] = None,
    windows: Annotated[
        bool,
        typer.Option("--windows", help="Also classify each window of 64 known words of a text, by itself."),
    ] = False,
    skip_bad_rows: Annotated[
        bool,
        typer.Option("--skip-bad-rows", help="Leave out rows of --file that cannot be read, and count them."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Table to write, .csv, .tsv or .xlsx: the columns of --file, and the predictions."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Classify texts.

    After a text of which the model knows no word and no n-gram, the line says "(nothing known)". With
    --abstain-below or --abstain-above-novelty, it gets no label.
    """
    from token2wave.classifier import load
    from token2wave.data.text_files import TextTable, read_table
    from token2wave.features.pairs import split_pair
    from token2wave.formatting import printable
    from token2wave.inference.prediction import prediction_to_dict, should_abstain
    from token2wave.storage.outputs import Outputs
    from token2wave.storage.tables import require_table_name

    outputs = Outputs([model, file], overwrite=overwrite)
    if out is not None:
        outputs.check_file(out, "table of predictions")
        require_table_name(out)
    if windows and out is not None:
        raise ConfigError("expected no table, found one", location="--windows", hint="use --json")
    classifier = load(model)
    if abstain_above_novelty is not None and classifier.novelty_reference is None:
        raise ConfigError(
            "expected a model that measures novelty, found one without",
            location="--abstain-above-novelty",
            hint="train it again, with validation texts",
        )
    if classifier.multi_label and abstain_below:
        problem = "a multi-label model abstains if no label reaches its threshold"
        raise ConfigError(problem, location="--abstain-below", hint="leave it out")
    if classifier.scale is not None and classifier.scale.target == "score" and abstain_below:
        problem = "is the probability of a label, and the model predicts scores"
        raise ConfigError(problem, location="--abstain-below", hint="leave it out")
    names = PAIR_COLUMNS if classifier.is_pairs else (TEXT,)

    def columns_of(string: str) -> dict[str, str]:
        """The text, or the two of a pair, by column."""
        return dict(zip(names, split_pair(string) if classifier.is_pairs else [string], strict=True))

    if file is None or text:
        texts = read_input(text, file, options, classifier.is_pairs)
        records = list(map(columns_of, texts))
        table = TextTable(texts, {name: [record[name] for record in records] for name in names}, ",")
    else:
        text_options = TextOptions(**options).for_pairs(classifier.is_pairs)
        table = read_table(file, text_options, text_alone=out is None, skip_bad_rows=skip_bad_rows)
    texts = table.texts
    with terminal.progress() as callback:
        callback.on_stage("prediction", len(texts))
        novelty = as_json or abstain_above_novelty is not None
        predictions = classifier.predict_batch(texts, top_k, callback.on_advance, novelty)

    documents: list[dict[str, Any]] = []
    decisions: list[list[tuple[str, float]]] = []
    scores: list[list[float]] = []
    for line, prediction in zip(texts, predictions, strict=True):
        no_label = should_abstain(prediction, abstain_below, abstain_above_novelty)
        fields = columns_of(line)
        documents.append({**fields, **prediction_to_dict(prediction, classifier.multi_label, no_label)})
        of_windows = _windows_of(classifier, line) if windows else []
        if windows:
            documents[-1]["windows"] = of_windows
        classes = _printed_classes(prediction, classifier.multi_label and top_k == 1, no_label)
        decisions.append(classes)
        scores.append(_printed_scores(prediction, no_label))
        if not as_json and out is None:
            cells = [f"{printable(label)}\t{probability:.4f}" for label, probability in classes]
            cells = [*map("{:.4g}".format, _printed_scores(prediction, no_label)), *cells]
            cells += map(printable, fields.values())
            print("\t".join([*cells, *([] if prediction.known else [NOTHING_KNOWN])]))
            for each in of_windows:
                label, probability = max(each["probabilities"].items(), key=lambda pair: pair[1])
                place, words = f"{each['start']}-{each['end']}", line[each["start"] : each["end"]]
                print(f"  {place}\t{printable(label)}\t{probability:.4f}\t{printable(words)}")
    if out is not None:
        with private_files(outputs.is_private):
            columns = SCORE_COLUMNS if classifier.scale is not None else ()
            _write_predictions(out, table, decisions, classifier.multi_label and top_k == 1, columns, scores)
    if as_json:
        print_json(documents)
    elif out is not None and not terminal.verbosity.is_quiet:
        counts = Counter(
            label for classes in decisions for label, _ in classes[: None if classifier.multi_label else 1]
        )
        labels = ", ".join(f"{printable(label)} {n:,}" for label, n in counts.most_common(MAX_COUNTED))
        print(f"predictions: {out}, {len(texts):,} rows ({labels})")


@takes_options(
    DataOptions,
    leave_out=(
        *("weight_column", "group_column", "multi_label", "label_separator", "normalise_labels", "bad_rows"),
    ),
)
def compress(
    model: ModelPath,
    options: dict[str, Any],
    out: Annotated[Path, typer.Option(help="Model file to write.")],
    data: Annotated[str, typer.Option(metavar="DATA", help="The model's training data.")],
    max_size: Annotated[
        str | None, typer.Option(help="Largest size of the file, e.g. 1MB; without it no row is removed.")
    ] = None,
    storage: Annotated[
        str, typer.Option(help="float32, float16, int8, lzma, or auto: lzma with --max-size, else int8.")
    ] = "auto",
    test: Annotated[
        str | None, typer.Option(metavar="FILE", help="Test set, to measure the model before and after.")
    ] = None,
    retrain: Annotated[
        bool, typer.Option(help="Train the remaining rows again if that improves validation.")
    ] = True,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a smaller model file, and report the loss of accuracy."""
    from token2wave.compression import compress as run

    with terminal.progress() as callback:
        summary = run(
            model,
            out,
            data=data,
            test=test,
            max_size=max_size,
            storage=storage,
            retrain=retrain,
            **options,
            overwrite=overwrite,
            callbacks=[callback],
        ).summary
    for caveat in summary["caveats"]:
        terminal.print_note(caveat)
    if as_json:
        print_json(summary)
    elif not terminal.verbosity.is_quiet:
        terminal.print_compression(out, summary)


def info(model: ModelPath, as_json: Json = False) -> None:
    """Show the contents of a model file."""
    from token2wave.classifier import load

    classifier = load(model)
    document = {**classifier.description(), "model_bytes": model.stat().st_size}
    if as_json:
        print_json(document)
    else:
        terminal.print_info(model, document)


@takes_options(TextOptions)
def explain(
    model: ModelPath,
    options: dict[str, Any],
    text: Texts = None,
    file: TextFile = None,
    unit: Annotated[
        str,
        typer.Option(
            help="What to remove, one at a time: token, word or sentence.",
            autocompletion=one_of("token", "word", "sentence"),
        ),
    ] = "word",
    html: Annotated[Path | None, typer.Option(help="Write a page with the texts in colour.")] = None,
    nearest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Labelled file: also list its rows that are most like each text."),
    ] = None,
    n_nearest: Annotated[int, typer.Option(min=1, help="How many rows --nearest lists.")] = 5,
    label_column: Annotated[str, typer.Option(help="The column of the labels, of --nearest.")] = "label",
    id_column: Annotated[
        str | None, typer.Option(help="A column whose value names a row, of --nearest.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Show how the prediction changes when a word is removed; exact, not sampled."""
    from token2wave.classifier import load
    from token2wave.explanation import explanation_page, print_explanation
    from token2wave.storage.outputs import Outputs

    outputs = Outputs([model, file, nearest], overwrite=overwrite)
    if html is not None:
        outputs.check_file(html, "page of explanations")
    classifier = load(model)
    texts = read_input(text, file, options, classifier.is_pairs)
    with terminal.progress() as callback:
        callback.on_stage("explanation", len(texts))
        explanations = []
        for line in texts:
            explanations.append(classifier.explain(line, unit))
            callback.on_advance(1)
    neighbours: list[list[dict[str, Any]]] = [[] for _ in texts]
    if nearest is not None:
        from token2wave.cli.nearest_rows import nearest_rows, print_nearest

        of_rows = {**options, "label_column": label_column}
        neighbours = nearest_rows(classifier, texts, nearest, of_rows, id_column, n_nearest)
    if html is not None:
        page = explanation_page(explanations, f"Explained by {model.name}")
        with private_files(outputs.is_private), atomic_write(html) as temporary:
            temporary.write_text(page, encoding="utf-8")
    if as_json:
        documents = [explanation.to_dict() for explanation in explanations]
        if nearest is not None:
            documents = [{**each, "nearest": rows} for each, rows in zip(documents, neighbours, strict=True)]
        print_json(documents)
        return
    for explanation, entries in zip(explanations, neighbours, strict=True):
        print_explanation(explanation)
        if entries:
            print_nearest(entries)
    if html is not None and not terminal.verbosity.is_quiet:
        print(f"page: {html}")


def _windows_of(classifier: Classifier, text: str) -> list[dict[str, Any]]:
    """The place of each window of a text, and the probability of each class, as plain data."""
    spans, probabilities = classifier.window_scores(text)
    pairs = zip(spans.tolist(), probabilities.tolist(), strict=True)
    return [
        {"start": start, "end": end, "probabilities": dict(zip(classifier.label_names, row, strict=True))}
        for (start, end), row in pairs
    ]


def _printed_classes(prediction: Prediction, all_labels: bool, abstains: bool) -> list[tuple[str, float]]:
    """Return all labels of a text, or its most probable classes; none if the classifier abstains."""
    none = NO_LABEL, prediction.probability
    if abstains:
        return [none, *prediction.top[1:]]
    if all_labels:
        return list(zip(prediction.labels, prediction.probabilities, strict=True)) or [none]
    if prediction.score is not None and len(prediction.top) == 1:
        return [(prediction.label, prediction.probability)]  # the median grade
    return list(prediction.top)


def _printed_scores(prediction: Prediction, abstains: bool) -> list[float]:
    """Return the score of a text and the bounds of its interval, as far as there are any."""
    if prediction.score is None or abstains:
        return []
    return [prediction.score, *(prediction.interval or ())]


def _write_predictions(
    out: Path,
    table: TextTable,
    decisions: Sequence[Sequence[tuple[str, float]]],
    all_labels: bool,
    score_columns: Sequence[str],
    scores: Sequence[Sequence[float]],
) -> None:
    """Write the columns of a table, and beside them the label of each row, or its most probable classes.

    In a model of scores, ``scores`` of a row stand first: those that there are of ``score_columns``.
    """
    from token2wave.storage.tables import write_table

    def unused(name: str) -> str:
        return unused(f"predicted_{name}") if name in table.columns else name

    n_classes = 1 if all_labels else max(map(len, decisions), default=1)
    ranks = ["", *(f"_{rank}" for rank in range(2, n_classes + 1))]
    header = [
        *table.columns,
        *map(unused, score_columns),
        *(unused(f"{name}{rank}") for rank in ranks for name in ("label", "probability")),
    ]
    rows = []
    for index, classes in enumerate(decisions):
        cells: list[object] = [
            "" if column[index] is None else column[index] for column in table.columns.values()
        ]
        numbers = [round(score, 4) for score in scores[index]]
        cells += [*numbers, *[""] * (len(score_columns) - len(numbers))]
        if all_labels:
            cells += ["; ".join(label for label, _ in classes), "; ".join(f"{p:.4f}" for _, p in classes)]
        else:
            cells += [cell for label, probability in classes for cell in (label, round(probability, 4))]
        rows.append(cells)
    write_table(out, header, rows, table.delimiter or ",")
