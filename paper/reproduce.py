"""Both papers in one run: every system and every study, resumed where an earlier run was interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paper.published import ROWS
from paper.result_store import NotFinishedError, Store
from paper.studies import STUDIES, load_study
from paper.study import Document, Options
from token2wave.data import TextDataset
from token2wave.errors import ConfigError, MissingExtraError
from token2wave.storage.atomic import make_folder
from token2wave.training.callbacks import Callback

if TYPE_CHECKING:
    from paper.study_data import StudyData
    from paper.systems import System

Source = str | os.PathLike[str] | TextDataset
DATASETS = ("ag_news", "dbpedia14", "imdb")
PARTS = ("accuracy", "everyday", *STUDIES)
FOR_EVERY_DATASET = ("resources",)  # of the studies; the others take the first data set
FORMAT = 1
UNFINISHED = "not run yet"
QUICK_ROWS, QUICK_TEST_ROWS, QUICK_EPOCHS = 3_000, 1_000, 2
QUICK_ENCODER_ROWS = 640
ENCODER_ROWS = {"imdb": (8_000, 8_000)}
"""Training and test rows of an encoder where it takes fewer than all: IMDB's texts are the longest."""
ONE_SEED = ("encoder", "transformer-random", "wave-interference-bare", "wave-modulation-bare")
"""Systems that stand beside the papers' own; the encoder's fine-tuning takes as long as all else together."""


def reproduce(
    datasets: Sequence[Source] = DATASETS,
    *,
    out: Path,
    quick: bool = False,
    seeds: Sequence[int] = (0, 1, 2),
    parts: Sequence[str] = PARTS,
    encoder_epochs: int = 1,
    device: str = "auto",
    finished_only: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Document:
    """Train what the papers trained, run the studies, and write the report.

    Finished pieces are kept in ``out/runs``, so that a run which was interrupted goes on where it was, and
    gives the report that it would have given.

    Args:
        datasets: names, files or folders, each with a test set. Studies of a single one take the first.
        out: folder for ``report.json``, ``report.md``, ``report.html``, the figures and the pieces.
        quick: a miniature of everything, on few rows.
        seeds: of the Wave networks and of the Transformer; other systems have the first alone.
        parts: what to run, of :data:`PARTS`.
        encoder_epochs: epochs of fine-tuning; the papers' four take hours without a graphics card.
        device: ``auto``, ``cpu`` or ``cuda``.
        finished_only: begin nothing; write the report of what earlier runs have finished, saying what is not.
        callbacks: told how it goes.

    Returns:
        What ``report.json`` holds.

    Raises:
        ConfigError: an unknown part, no data set, or no seed.
        DataError: a data set that cannot be used, or a damaged piece of an earlier run.
        OutputError: the folder cannot be written to.
        MissingExtraError: matplotlib is not installed.
    """
    from paper.paper_report import write_report
    from paper.study_figures import styled

    _check(datasets, seeds, parts)
    with styled():  # a missing package is found out before hours of work
        pass
    make_folder(out)
    store = Store(out / "runs", callbacks, device, finished_only)
    document: Document = {
        "format": FORMAT,
        "quick": quick,
        "seeds": list(seeds),
        "datasets": {},
        "studies": {},
        "unfinished": [],
    }
    for part in parts:
        if part in STUDIES:
            load_study(part)  # what is imported now is the code that the commit names, hours later too
    loaded = _loaded(store, datasets, quick, seeds)
    for options, data in loaded:
        document["datasets"][data.name] = _dataset(store, options, data, parts, encoder_epochs)
    for name in STUDIES:
        if name in parts:
            n_chosen = len(datasets) if name in FOR_EVERY_DATASET else 1
            measured: list[Document] = []
            for options, data in loaded[:n_chosen]:
                try:
                    measured.append(load_study(name).measure(store, options))
                except NotFinishedError:
                    document["unfinished"].append(f"{name}, {data.name}")
            if measured:
                document["studies"][name] = measured
    document["made"] = store.how_made()
    write_report(document, out)
    return document


def _check(datasets: Sequence[Source], seeds: Sequence[int], parts: Sequence[str]) -> None:
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise ConfigError(f"expected parts of {', '.join(PARTS)}, found {unknown[0]!r}", location="parts")
    if not datasets:
        raise ConfigError("expected at least one data set, found none", location="dataset")
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ConfigError(f"expected different seeds from 0, found {list(seeds)}", location="seeds")


def _loaded(
    store: Store, datasets: Sequence[Source], quick: bool, seeds: Sequence[int]
) -> list[tuple[Options, StudyData]]:
    """All data sets; what is wrong with the last one is found out before hours of work on the first."""
    store.callback_list.stage("reading the data", 0)
    rows = (QUICK_ROWS, QUICK_TEST_ROWS) if quick else (None, None)
    found = []
    for source in datasets:
        options = Options(source, quick, tuple(seeds))
        found.append((options, options.load(*rows)))
    names = [data.name for _, data in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two data sets are called {name!r}", location="dataset")
    return found


def _dataset(
    store: Store, options: Options, data: StudyData, parts: Sequence[str], encoder_epochs: int
) -> Document:
    """The papers' systems on one data set."""
    from paper.accuracy import EVERYDAY, measure_everyday, systems

    quick, seeds = options.quick, options.seeds
    found: Document = {
        "name": data.name,
        "rows": data.settings["rows"],
        "classes": data.n_classes,
        "caveats": list(data.texts.caveats),
        "systems": {},
        "everyday": {},
    }
    if "accuracy" in parts:
        few = data
        if quick or data.name in ENCODER_ROWS:
            rows = (QUICK_ENCODER_ROWS, QUICK_TEST_ROWS) if quick else ENCODER_ROWS[data.name]
            few = options.load(*rows)
        for key, system in systems(encoder_epochs).items():
            if not _belongs(key, data.name):
                continue
            encoder = system.kind == "encoder"
            if quick and not encoder:
                system = replace(system, recipe=system.recipe.replace(epochs=QUICK_EPOCHS))
            one_seed = key in ONE_SEED or (quick and system.kind != "wave")
            chosen = seeds[:1] if one_seed else seeds
            found["systems"][key] = _runs(store, few if encoder else data, system, key, chosen)
    if "everyday" in parts:
        for key in EVERYDAY:
            found["everyday"][key] = _or_reason(partial(measure_everyday, store, data, key))
    return found


def _belongs(key: str, dataset: str) -> bool:
    """Whether the papers have such a system on a data set; on other data sets all are trained."""
    kinds = {row.key.partition("-")[0] for row in ROWS if row.dataset == dataset}
    return not kinds or key.partition("-")[0] in kinds


def _runs(store: Store, data: StudyData, system: System, key: str, seeds: Sequence[int]) -> Document:
    from paper.accuracy import measure_accuracy

    found: Document = {"title": system.title, "epochs": system.recipe.epochs, "rows": data.settings["rows"]}
    runs: Document = {}
    for seed in seeds:
        got = _or_reason(partial(measure_accuracy, store, data, system, key, seed))
        if "skipped" in got:
            found["skipped"] = got["skipped"]
        else:
            runs[str(seed)] = got
    return found | ({"runs": runs} if runs else {})


def _or_reason(compute: Callable[[], Any]) -> dict[str, Any]:
    """What a computation gives, or why it cannot be done here: then the rest of the report goes on."""
    try:
        return dict(compute())
    except (MissingExtraError, ConfigError) as error:  # a package, or a run that diverged
        return {"skipped": str(error)}
    except NotFinishedError:
        return {"skipped": UNFINISHED}
