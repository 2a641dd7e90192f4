"""One study by itself: data first, then tables and figures from the data."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from paper.paper_report import QUICK, how_made_in_words, markdown_table
from paper.result_store import Store
from paper.studies import load_study
from paper.study import Document, Options
from paper.study_figures import files_of, styled
from token2wave.data import TextDataset
from token2wave.reporting import html_report as html
from token2wave.storage.atomic import make_folder
from token2wave.training.callbacks import Callback


def run_study(
    name: str,
    data: str | os.PathLike[str] | TextDataset = "ag_news",
    *,
    out: Path,
    quick: bool = False,
    seeds: Sequence[int] = (0, 1, 2),
    device: str = "auto",
    callbacks: Sequence[Callback] = (),
) -> tuple[Document, list[Path]]:
    """Run a study, and write what it measured, its tables and its figures.

    Finished pieces are kept in ``out/runs``; a run that was interrupted goes on where it was.

    Args:
        name: one of :data:`paper.studies.STUDIES`.
        data: as :func:`token2wave.train` takes it; it must have a test set. Studies of cost and the probes
            make their own.
        out: folder for ``NAME.json``, ``NAME.md`` and the figures.
        quick: a miniature on few rows.
        seeds: of the networks.
        device: ``auto``, ``cpu`` or ``cuda``.
        callbacks: told how it goes.

    Returns:
        What was measured, and the files written.

    Raises:
        ConfigError: there is no study of that name.
        DataError: data that cannot be used, or a damaged piece of an earlier run.
        OutputError: the folder cannot be written to.
        MissingExtraError: an optional package is needed and not installed.
    """
    study = load_study(name)
    with styled():  # a missing package is found out before minutes of work
        pass
    make_folder(out)
    store = Store(out / "runs", callbacks, device)
    document = study.measure(store, Options(data, quick, tuple(seeds)))
    document |= {"quick": quick, "seeds": list(seeds), "made": store.how_made()}
    drawings = study.drawings(document)
    lines = [f"# {study.title}", "", study.about, ""]
    lines += [f"> {note}\n" for note in ([QUICK] if quick else []) + document.get("caveats", [])]
    lines += [how_made_in_words(document["made"], seeds), ""]
    for table in study.tables(document):
        lines += [markdown_table(table), ""]
    for key, drawing in drawings.items():
        lines += [f"![{key}]({key}.svg)", "", drawing.caption, ""]
    plain = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    text = "\n".join(lines)
    files = {
        f"{name}.json": plain.encode(errors="backslashreplace"),
        f"{name}.md": text.encode(errors="backslashreplace"),
    }
    for key, drawing in drawings.items():
        files |= files_of(key, drawing.figure)
    return document, html.write_all(out, files)
