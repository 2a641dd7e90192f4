"""The commands ``select`` and ``label-plan``: what to label next, by whom, and with what result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from token2wave.cli.arguments import Json, ModelPath, Overwrite, one_of, print_json, takes_options
from token2wave.errors import ConfigError
from token2wave.formatting import printable, shorten
from token2wave.options import TextOptions
from token2wave.reporting import terminal

MAX_SHOWN = 10  # rows, without --out
TEXT_COLUMNS = 60
STRATEGY_NAMES = ("mixture", "uncertainty", "diverse", "random")


@takes_options(TextOptions)
def select(
    model: ModelPath,
    pool: Annotated[
        list[str],
        typer.Argument(
            metavar="POOL...",
            help="Files, folders or patterns of texts, of any size; or the name of a data set.",
        ),
    ],
    options: dict[str, Any],
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Rows to choose.")] = 200,
    strategy: Annotated[
        str,
        typer.Option(
            help="mixture: unsure and different; uncertainty; diverse; random.",
            autocompletion=one_of(*STRATEGY_NAMES),
        ),
    ] = "mixture",
    out: Annotated[
        Path | None,
        typer.Option(help="Table to write, .csv, .tsv or .xlsx: the columns of the pool, and why."),
    ] = None,
    labelled: Annotated[
        Path | None, typer.Option(help="Labelled file; its texts, and texts nearly the same, are left out.")
    ] = None,
    previous: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="Model of the round before, to say whether labels still pay."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed chooses the same rows.")] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Choose which texts to label next, so that few labels teach the model much."""
    from token2wave.labelling.selection import ADDED
    from token2wave.labelling.selection import select as run

    with terminal.progress() as callback:
        result = run(
            model,
            pool[0] if len(pool) == 1 else pool,
            n=n,
            strategy=strategy,
            out=out,
            labelled=labelled,
            previous=previous,
            seed=seed,
            overwrite=overwrite,
            callbacks=[callback],
            **options,
        )
    if as_json:
        print_json(result.to_dict())
        return
    for note in result.notes:
        terminal.print_note(note)
    if out is not None:
        if not terminal.verbosity.is_quiet:
            print(f"selected: {out}, {len(result.rows):,} of {result.n_pool:,} texts")
        return
    for row, text in list(zip(result.rows, result.texts, strict=True))[:MAX_SHOWN]:
        predicted, probability, runner_up, *_ = list(row.values())[-len(ADDED) :]
        reason = f"{printable(predicted)} {probability:.2f}, or {printable(runner_up)}"
        print(f"{reason}\t{shorten(text, TEXT_COLUMNS)}")
    if len(result.rows) > MAX_SHOWN:
        print(f"... and {len(result.rows) - MAX_SHOWN:,} more; write them all with --out next.csv")


@takes_options(TextOptions)
def label_plan(
    data: Annotated[Path, typer.Argument(metavar="ROWS", help="Rows to label, as select writes them.")],
    options: dict[str, Any],
    labels: Annotated[
        str, typer.Option(metavar="A,B,...", help="The labels; or a model file, for its labels.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Sheet to fill in; with --answers, the labelled table. .csv, .tsv or .xlsx."),
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="JSON lines to write, a prompt for a language model a line.")
    ] = None,
    instructions: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What to do, and what the labels mean.")
    ] = None,
    examples: Annotated[
        Path | None, typer.Option(help="Labelled file; a text of each label goes into the prompts.")
    ] = None,
    answers: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Sheet or JSON lines with answers, of one annotator. Repeatable."),
    ] = None,
    labelled: Annotated[
        Path | None, typer.Option(help="With --answers: rows that had labels before, which go in front.")
    ] = None,
    label_separator: Annotated[
        str | None, typer.Option(help="Separates the labels of a text, if it may have several.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write rows to label as a sheet or as prompts; with --answers, read the answers.

    Nothing is sent anywhere: files in, files out.
    """
    common: dict[str, Any] = {"label_separator": label_separator, "overwrite": overwrite, **options}
    if not answers:
        from token2wave.labelling.plans import label_plan as run

        n_rows = run(
            data, labels, out=out, prompts=prompts, instructions=instructions, examples=examples, **common
        )
        files = [str(path) for path in (out, prompts) if path is not None]
        if as_json:
            print_json({"rows": n_rows, "files": files})
        elif not terminal.verbosity.is_quiet:
            print(f"to label: {' and '.join(files)}, {n_rows:,} rows")
        return
    if prompts or instructions or examples:
        problem = "expected answers to read or a plan to write, found both"
        raise ConfigError(problem, location="--answers", hint="run the command twice")
    from token2wave.labelling.answers import read_answers

    result = read_answers(data, labels, answers, out=out, labelled=labelled, **common)
    if as_json:
        print_json(result.to_dict())
        return
    print(result)
    if out is not None and not terminal.verbosity.is_quiet:
        print(f"labelled: {out}; train on it with --weight-column weight")
