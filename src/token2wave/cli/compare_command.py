"""The command ``compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from token2wave.cli.arguments import Data, Json, Overwrite, print_json, takes_options
from token2wave.formatting import columns, percent, shorten
from token2wave.options import DataOptions
from token2wave.reporting import terminal

if TYPE_CHECKING:
    from token2wave.model_comparison import ComparisonResult

N_ROWS, N_CLASSES = 5, 12  # to show: rows of each change, and classes
COLUMNS = 24  # of a label


@takes_options(DataOptions, leave_out=("multi_label", "weight_column"))
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Model file, such as that of the model in use.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Model file of another model, such as a newer one.")],
    data: Data,
    options: dict[str, Any],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    out: Annotated[
        Path | None,
        typer.Option(help="Table to write, .csv, .tsv or .xlsx: the changed rows with all columns."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same intervals.")] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Say whether model B is better than model A on labelled data, and which rows changed."""
    from token2wave.model_comparison import compare as run

    with terminal.progress() as callback:
        result = run(
            a, b, data, split=split, out=out, overwrite=overwrite, seed=seed, **options, callbacks=[callback]
        )
    for caveat in result.figures["caveats"]:
        terminal.print_note(caveat)
    if as_json:
        print_json(result.figures)
        return
    _print_result(result)
    if out is not None and not terminal.verbosity.is_quiet:
        print(f"changed rows: {out}")


def _print_result(result: ComparisonResult) -> None:
    """Print the verdict, the figures, the classes that differ most and the most telling rows."""
    from token2wave.model_comparison import describe_changes, describe_difference

    figures = result.figures
    print(result.sentence)
    for name in figures["metrics"]:
        print(f"{name.replace('_f1', '-F1')}: {describe_difference(figures[name])}")
    print(describe_changes(figures))
    classes = sorted(figures["classes"], key=lambda each: -abs(each["difference"]))[:N_CLASSES]
    names = [shorten(each["label"], COLUMNS) for each in classes]
    width = max(map(columns, ["class", *names]))
    print(f"  {'class':<{width}}     texts   F1 of A   F1 of B    points  (95% interval)    gained  lost")
    for name, each in zip(names, classes, strict=True):
        low, high = (f"{100 * end:+.1f}" for end in each["interval"])
        scores = f"{percent(each['a'], 1):>8}  {percent(each['b'], 1):>8}  {100 * each['difference']:>+8.1f}"
        interval = f"({low} to {high})"
        padding, changed = " " * (width - columns(name)), f"{each['gained']:>6}{each['lost']:>6}"
        print(f"  {name}{padding}  {each['rows']:>8,}  {scores}  {interval:<18}{changed}")
    texts = result.changes.get("text") or result.changes.get("input_text")
    for change in ("gained", "lost", "still wrong"):
        places = [i for i, value in enumerate(result.changes["change"]) if value == change]
        for i in places[:N_ROWS]:
            cells = [shorten(str(result.changes[f"label{side}"][i]), COLUMNS) for side in ("", "_a", "_b")]
            text = "" if texts is None else f": {shorten(str(texts[i])[:400], 70)}"
            row = f"{change}, row {result.changes['row'][i]}"
            print(f"{row}, {cells[0]} (A: {cells[1]}, B: {cells[2]}){text}")
