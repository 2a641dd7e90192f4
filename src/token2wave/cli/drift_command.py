"""The command ``drift``: have new texts drifted from those of training?"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from token2wave.cli.arguments import Json, ModelPath, complete_data, print_json, takes_options
from token2wave.options import TextOptions
from token2wave.reporting import terminal


@takes_options(TextOptions)
def drift(
    model: ModelPath,
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="NEWDATA...",
            help="New texts: files, folders or patterns, as for score; or the name of a data set.",
            autocompletion=complete_data,
        ),
    ],
    options: dict[str, Any],
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="OLDDATA",
            help="Old texts that the model has not learned from; by default the sums in the model file.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say whether new texts have drifted from those of training, and in what."""
    from token2wave.drift_report import drift as run
    from token2wave.formatting import printable

    with terminal.progress() as callback:
        result = run(
            model, data[0] if len(data) == 1 else data, reference=reference, callbacks=[callback], **options
        )
    for note in result.notes:
        terminal.print_note(note)
    if as_json:
        print_json(result.to_dict())
        return
    print(result.headline)
    for name, fact in result.facts.items():
        print(f"{name:18}{printable(fact)}")
