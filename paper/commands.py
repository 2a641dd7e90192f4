"""The command line of the reproduction: ``python -m paper reproduce`` and ``python -m paper study``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from paper.studies import STUDIES
from token2wave.cli.arguments import Json, print_json
from token2wave.cli.main import run_app
from token2wave.errors import ConfigError
from token2wave.reporting import terminal
from token2wave.training.callbacks import LoggingCallback

Quick = Annotated[bool, typer.Option("--quick", help="A miniature on few rows, within minutes.")]
Seeds = Annotated[int, typer.Option(min=1, help="Number of seeds, counted from 0.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
app = typer.Typer(
    name="paper",
    help="Reproduce the papers of the Wave Network.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line; an error prints one line on standard error and exits with status 2."""
    run_app(app)


@app.command()
def reproduce(
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="ag_news, dbpedia14, imdb, or any data with a test set; repeatable. All three."),
    ] = None,
    quick: Quick = False,
    out: Annotated[Path, typer.Option(help="Folder of the report. An interrupted run resumes in it.")] = Path(
        "reproduction"
    ),
    seeds: Seeds = 5,
    only: Annotated[
        list[str] | None, typer.Option(help="A part to run: accuracy, everyday, or a study; repeatable.")
    ] = None,
    encoder_epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of fine-tuning; the papers' 4 take hours.")
    ] = 1,
    device: Device = "auto",
    finished_only: Annotated[
        bool, typer.Option("--finished-only", help="Start nothing; report the results of earlier runs.")
    ] = False,
    same_commit: Annotated[
        bool, typer.Option("--same-commit", help="Do again what another commit of the code has finished.")
    ] = False,
    update: Annotated[
        Path | None,
        typer.Option(help="An earlier report.json (or .json.xz), whose other parts are taken over."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="How many parts run at a time, in processes.")] = 1,
    as_json: Json = False,
) -> None:
    """Reproduce both papers: all tables, figures and studies, beside the published figures."""
    from paper.claims import judge_claims
    from paper.paper_report import caveats
    from paper.report_file import PARTS
    from paper.reproduce import DATASETS
    from paper.reproduce import reproduce as run

    _check_device(device)
    options: Any = {"out": out, "quick": quick, "seeds": range(seeds), "device": device}
    options |= {"parts": only or PARTS, "encoder_epochs": encoder_epochs, "finished_only": finished_only}
    options |= {"same_commit": same_commit, "update": update, "jobs": jobs}
    with terminal.explain_interruption(out), terminal.progress() as callback:
        document = run(dataset or DATASETS, callbacks=[callback, LoggingCallback()], **options)
    for caveat in caveats(document):
        terminal.print_note(caveat)
    if as_json:
        print_json(document)
        return
    for claim in judge_claims(document):
        print(f"{claim.verdict:14}  {claim.claim}: {claim.evidence}")
    print(f"report: {out / 'report.html'}")


@app.command()
def study(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help=f"{', '.join(STUDIES[:-1])} or {STUDIES[-1]}.",
        ),
    ],
    data: Annotated[str, typer.Option(metavar="DATA", help="Data with a test set.")] = "ag_news",
    quick: Quick = False,
    out: Annotated[Path, typer.Option(help="Folder of the data, tables and figures.")] = Path("study"),
    seeds: Seeds = 5,
    variant: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="A variant of the ablations, with its reference; repeatable. All."),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Run one study: measure its data, then make tables and figures from the data."""
    from paper.reproduce import run_study

    _check_device(device)
    with terminal.explain_interruption(out), terminal.progress() as callback:
        options: Any = {"out": out, "quick": quick, "seeds": range(seeds), "device": device}
        options |= {"variants": variant or ()}
        document, paths = run_study(name, data, callbacks=[callback, LoggingCallback()], **options)
    if as_json:
        print_json(document)
    else:
        print(*paths, sep="\n")


def _check_device(device: str) -> None:
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"expected auto, cpu or cuda, found {device!r}", location="device")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ConfigError("no CUDA device is available", location="device", hint="choose cpu")
