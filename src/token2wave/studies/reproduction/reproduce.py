"""Both papers in one run: every system and every study, resumed where an earlier run was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from token2wave.errors import ConfigError, MissingExtraError
from token2wave.runtime.files import make_folder
from token2wave.studies import STUDIES, study_named
from token2wave.studies.reproduction.published import ROWS
from token2wave.studies.store import NotFinishedError, Store, Unit
from token2wave.studies.study import Document, Options
from token2wave.training.progress import Callback

if TYPE_CHECKING:
    from token2wave.studies.data import StudyData
    from token2wave.studies.systems import System

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
    datasets: Sequence[str] = DATASETS,
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
    from token2wave.studies.figures import styled
    from token2wave.studies.reproduction.report import write_report

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
    for dataset in datasets:
        found = _dataset(store, dataset, quick, seeds, parts, encoder_epochs)
        if found["name"] in document["datasets"]:
            raise ConfigError(f"two data sets are called {found['name']!r}", where="dataset")
        document["datasets"][found["name"]] = found
    for name in STUDIES:
        if name in parts:
            n_chosen = len(datasets) if name in FOR_EVERY_DATASET else 1
            measured: list[Document] = []
            for data, title in list(zip(datasets, document["datasets"], strict=True))[:n_chosen]:
                try:
                    measured.append(study_named(name).measure(store, Options(data, quick, tuple(seeds))))
                except NotFinishedError:
                    document["unfinished"].append(f"{name}, {title}")
            if measured:
                document["studies"][name] = measured
    document["made"] = _made(store)
    write_report(document, out)
    return document


def _check(datasets: Sequence[str], seeds: Sequence[int], parts: Sequence[str]) -> None:
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise ConfigError(f"expected parts of {', '.join(PARTS)}, found {unknown[0]!r}", where="parts")
    if not datasets:
        raise ConfigError("expected at least one data set, found none", where="dataset")
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ConfigError(f"expected different seeds from 0, found {list(seeds)}", where="seeds")


def _dataset(
    store: Store, dataset: str, quick: bool, seeds: Sequence[int], parts: Sequence[str], encoder_epochs: int
) -> Document:
    """The papers' systems on one data set."""
    from token2wave.studies.accuracy import measure_everyday, systems
    from token2wave.studies.data import study_data

    store.tell.stage(f"reading {dataset}", 0)
    data = (
        study_data(dataset, train_rows=QUICK_ROWS, test_rows=QUICK_TEST_ROWS)
        if quick
        else study_data(dataset)
    )
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
            few = study_data(dataset, train_rows=rows[0], test_rows=rows[1])
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
        found["everyday"] = _or_reason(lambda: measure_everyday(store, data))
    return found


def _belongs(key: str, dataset: str) -> bool:
    """Whether the papers have such a system on a data set; on other data sets all are trained."""
    kinds = {row.key.partition("-")[0] for row in ROWS if row.dataset == dataset}
    return not kinds or key.partition("-")[0] in kinds


def _runs(store: Store, data: StudyData, system: System, key: str, seeds: Sequence[int]) -> Document:
    from token2wave.studies.accuracy import measure_accuracy

    found: Document = {"title": system.title, "epochs": system.recipe.epochs, "rows": data.settings["rows"]}
    runs: Document = {}
    for seed in seeds:
        got = _or_reason(lambda seed=seed: measure_accuracy(store, data, system, key, seed))  # type: ignore[misc]
        if "skipped" in got:
            found["skipped"] = got["skipped"]
        else:
            runs[str(seed)] = got
    return found | ({"runs": runs} if runs else {})


def _or_reason(compute: Callable[[], Any]) -> dict[str, Any]:
    """What a computation gives, or why it cannot be done here: then the rest of the report goes on."""
    try:
        return dict(compute())
    except MissingExtraError as error:
        return {"skipped": str(error)}
    except NotFinishedError:
        return {"skipped": UNFINISHED}


def _made(store: Store) -> Unit:
    """By what code, on which machines and with which packages the pieces were made, each named once."""
    every = list(store.made.values())

    def distinct(key: str) -> list[Any]:
        found: list[Any] = []
        for made in every:
            if made[key] is not None and made[key] not in found:
                found.append(made[key])
        return sorted(found, key=str)

    return {"commits": distinct("commit"), "machines": distinct("machine"), "versions": distinct("versions")}
