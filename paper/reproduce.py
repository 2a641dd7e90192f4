"""Reproduces both papers in one run: every system and every study; an interrupted run resumes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from paper.accuracy import (
    EVERYDAY,
    accuracy_name,
    accuracy_systems,
    measure_accuracy,
    measure_everyday,
)
from paper.paper_report import write_report, write_study
from paper.published import ROWS
from paper.report_file import FORMAT, MEASURED, PARTS, origin_of_systems, read_report, take_over
from paper.result_store import LOG, NotFinishedError, ResultStore
from paper.studies import STUDIES, load_study
from paper.study import Document, Options, StudyData
from paper.systems import System
from token2wave.data import TextDataset
from token2wave.errors import ConfigError, MissingExtraError
from token2wave.formatting import duration
from token2wave.reporting.figures import require_matplotlib
from token2wave.reporting.terminal import set_verbosity
from token2wave.storage.atomic import make_folder
from token2wave.training.callbacks import Callback, LoggingCallback
from token2wave.training.processes import call_in_processes

Source = str | os.PathLike[str] | TextDataset
DATASETS = ("ag_news", "dbpedia14", "imdb")
STUDIES_OF_EVERY_DATASET = ("resources",)  # the others take the first data set
RUN_ALONE = ("complexity", "resources")  # parts that measure time and memory
QUICK_ROWS, QUICK_TEST_ROWS, QUICK_EPOCHS = 600, 300, 2
QUICK_ENCODER_ROWS = (64, 64)  # training and test rows; an encoder costs thirty times as much
ENCODER_ROWS = {"imdb": (8_000, 8_000)}
"""Training and test rows of the encoder on the data set with the longest texts."""
ONE_SEED = ("encoder",)
"""Fine-tuning takes as long as everything else together."""


def reproduce(
    datasets: Sequence[Source] = DATASETS,
    *,
    out: Path,
    quick: bool = False,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    parts: Sequence[str] = PARTS,
    encoder_epochs: int = 1,
    device: str = "auto",
    finished_only: bool = False,
    same_commit: bool = False,
    update: Path | None = None,
    jobs: int = 1,
    callbacks: Sequence[Callback] = (),
) -> Document:
    """Train the papers' systems, run the studies, and write the report.

    Finished results are kept in ``out/runs``: an interrupted run resumes there and gives the same report.

    Args:
        datasets: names, files or folders, each with a test set. Most studies use the first one alone.
        out: folder of ``report.json``, ``report.md``, ``report.html``, the figures and the finished results.
        quick: a miniature of everything on few rows.
        seeds: of the Wave networks and the pretrained Transformer; other systems use the first seed.
        parts: what to run, from :data:`PARTS`.
        encoder_epochs: epochs of fine-tuning; the papers' four take hours without a graphics card.
        device: ``auto``, ``cpu`` or ``cuda``.
        finished_only: start nothing; report the finished results of earlier runs and name what is missing.
        same_commit: do again what another commit of the code has finished.
        update: an earlier ``report.json`` or ``report.json.xz``, whose other parts the new report takes over.
        jobs: how many parts run at a time, in processes of their own that share the threads of this one.
            Parts that measure time or memory run alone, after the others.
        callbacks: called during training, in this process.

    Returns:
        The content of ``report.json``.

    Raises:
        ConfigError: an unknown part, no data set, or no seed.
        DataError: an unusable data set, or a damaged result or report of an earlier run.
        OutputError: the folder cannot be written.
    """
    _check(datasets, seeds, parts)
    earlier = None if update is None else read_report(update)
    require_matplotlib()  # before hours of work
    make_folder(out)
    store = ResultStore(out / "runs", callbacks, device, finished_only, same_commit)
    own = parts if jobs == 1 else [part for part in parts if part in RUN_ALONE]
    announce = _Announcements([] if quick or finished_only else own)
    loaded = _load(store, [Options(source, quick, tuple(seeds)) for source in datasets])
    if jobs > 1 and not finished_only:
        settings = (out, parts, encoder_epochs, device, same_commit)
        unread = [Options(options.data, quick, tuple(seeds)) for options, _ in loaded]
        _measure_in_processes(unread, *settings, jobs)
    document = _measure(store, loaded, parts, encoder_epochs, announce)
    if earlier is not None:
        document = take_over(document, earlier, parts)
    write_report(document, out)
    return document


def _measure_in_processes(
    datasets: Sequence[Options],
    out: Path,
    parts: Sequence[str],
    encoder_epochs: int,
    device: str,
    same_commit: bool,
    jobs: int,
) -> None:
    """Measure what need not run alone, a part of a data set in each call; the store keeps the results."""
    calls = [
        (options, out, part, encoder_epochs, device, same_commit)
        for part in PARTS
        if part in parts and part not in RUN_ALONE
        for options in (datasets if part not in STUDIES else datasets[:1])
    ]
    LOG.info("%d parts of data sets in %d processes", len(calls), jobs)
    call_in_processes(_measure_part, calls, jobs, lambda i: LOG.info("%s: measured", calls[i][2]))


def _measure_part(
    options: Options, out: Path, part: str, encoder_epochs: int, device: str, same_commit: bool
) -> None:
    """Measure a part in a process of its own."""
    set_verbosity(False, False)
    store = ResultStore(out / "runs", [LoggingCallback()], device, same_commit=same_commit)
    _measure(store, _load(store, [options]), [part], encoder_epochs, _Announcements([]))


def _measure(
    store: ResultStore,
    loaded: Sequence[tuple[Options, StudyData]],
    parts: Sequence[str],
    encoder_epochs: int,
    announce: _Announcements,
) -> Document:
    """Measure parts, or read them from the store."""
    studies = [load_study(name) for name in STUDIES if name in parts]  # import the code of this commit now
    options = loaded[0][0]
    document: Document = {"format": FORMAT, "quick": options.quick, "seeds": list(options.seeds)}
    document |= {"datasets": {}, "studies": {}, "unfinished": []}
    for options, data in loaded:
        announce("accuracy", "everyday")
        document["datasets"][data.name] = _measure_dataset(store, options, data, parts, encoder_epochs)
    for study in studies:
        announce(study.name)
        measured = []
        for options, data in loaded if study.name in STUDIES_OF_EVERY_DATASET else loaded[:1]:
            try:
                measured.append(study.measure(store, options))
            except NotFinishedError:
                document["unfinished"].append(f"{study.name}, {data.name}")
        if measured:
            document["studies"][study.name] = measured
    document["made"] = store.origins()
    if "accuracy" in document["made"]:
        document["made"]["accuracy"] = origin_of_systems(document["datasets"])
    return document


def run_study(
    name: str,
    data: Source = "ag_news",
    *,
    out: Path,
    quick: bool = False,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    device: str = "auto",
    variants: Sequence[str] = (),
    callbacks: Sequence[Callback] = (),
) -> tuple[Document, list[Path]]:
    """Run one study, as in :func:`reproduce`; its data, and the paths of its JSON, Markdown and figures.

    Raises:
        ConfigError: there is no such study or variant, or variants are given for another than the ablations.
    """
    if variants and name != "ablations":
        problem = f"expected the study 'ablations', which has variants, found {name!r}"
        raise ConfigError(problem, location="study", hint="leave --variant out")
    study = load_study(name)
    require_matplotlib()
    make_folder(out)
    store = ResultStore(out / "runs", callbacks, device)
    document = study.measure(store, Options(data, quick, tuple(seeds), tuple(variants)))
    document |= {"quick": quick, "seeds": list(seeds), "made": store.origins()}
    return document, write_study(study, document, out)


class _Announcements:
    """Logs before each part how long it took when the report beside this module was measured."""

    def __init__(self, parts: Sequence[str]) -> None:
        made = read_report(MEASURED)["made"] if MEASURED.is_file() else {}
        self.seconds = {part: made[part]["seconds"] if part in made else None for part in parts}

    def __call__(self, *parts: str) -> None:
        for part in parts:
            if part in self.seconds:
                left = sum(seconds or 0 for seconds in self.seconds.values())
                took = duration(self.seconds.pop(part))
                note = (
                    "%s: took %s on the machine of the last report; %s of such time left, this part included"
                )
                LOG.info(note, part, took, duration(left))


def _check(datasets: Sequence[Source], seeds: Sequence[int], parts: Sequence[str]) -> None:
    for part in parts:
        if part not in PARTS:
            raise ConfigError(f"expected parts of {', '.join(PARTS)}, found {part!r}", location="parts")
    if not datasets:
        raise ConfigError("expected at least one data set, found none", location="dataset")
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ConfigError(f"expected different seeds from 0, found {list(seeds)}", location="seeds")


def _load(store: ResultStore, sources: Sequence[Options]) -> list[tuple[Options, StudyData]]:
    """Read all data sets, so that an error in the last one shows before hours of work on the first."""
    store.callback_list.stage("reading the data", 0)
    loaded: dict[str, tuple[Options, StudyData]] = {}
    for options in sources:
        data = options.load(*((QUICK_ROWS, QUICK_TEST_ROWS) if options.quick else ()))
        if data.name in loaded:
            raise ConfigError(f"two data sets are called {data.name!r}", location="dataset")
        loaded[data.name] = (options, data)
    return list(loaded.values())


def _measure_dataset(
    store: ResultStore, options: Options, data: StudyData, parts: Sequence[str], encoder_epochs: int
) -> Document:
    """Measure the papers' systems and the everyday ones on a data set."""
    document: Document = {
        "name": data.name,
        "rows": data.settings["rows"],
        "classes": data.sizes["n_classes"],
        "caveats": list(data.texts.caveats),
        "systems": {},
        "everyday": {},
    }
    if "accuracy" in parts:
        n_rows = QUICK_ENCODER_ROWS if options.quick else ENCODER_ROWS.get(data.name)
        encoder_data = options.load(*n_rows) if n_rows else data
        for key, system in accuracy_systems(encoder_epochs).items():
            if not _is_published(key, data.name):
                continue
            encoder = system.kind == "encoder"
            if options.quick and not encoder:
                system = replace(system, recipe=system.recipe.replace(epochs=QUICK_EPOCHS))
            one_seed = key in ONE_SEED or (options.quick and system.kind != "wave")
            seeds = options.seeds[:1] if one_seed else options.seeds
            rows = encoder_data if encoder else data
            document["systems"][key] = _measure_system(store, rows, system, key, seeds)
    if "everyday" in parts:
        for key in EVERYDAY:
            document["everyday"][key] = _result_or_reason(partial(measure_everyday, store, data, key))
    return document


def _is_published(key: str, dataset: str) -> bool:
    """Whether the papers test such a system on a data set; on other data sets all systems are trained.

    Networks without regularisation stand beside the Transformer alone, so that both are shown both ways.
    """
    tested = {row.key.partition("-")[0] for row in ROWS if row.dataset == dataset}
    family = "transformer" if key.endswith("-unregularised") else key.partition("-")[0]
    return not tested or family in tested


def _measure_system(
    store: ResultStore, data: StudyData, system: System, key: str, seeds: Sequence[int]
) -> Document:
    document = {"title": system.title, "epochs": system.recipe.epochs, "rows": data.settings["rows"]}
    runs: dict[int, Document] = {}
    for seed in seeds:
        result = _result_or_reason(partial(measure_accuracy, store, data, system, key, seed))
        if "skipped" in result:
            document["skipped"] = result["skipped"]
        else:
            runs[seed] = result
    if runs:
        document["runs"] = {str(seed): run for seed, run in runs.items()}
        document |= {"made": store.origin([accuracy_name(data, key, seed) for seed in runs])}
    return document


def _result_or_reason(compute: Callable[[], Any]) -> dict[str, Any]:
    """A result, or the reason why it is missing; the rest of the report goes on."""
    try:
        return dict(compute())
    except (MissingExtraError, ConfigError) as error:  # a missing package, or a diverged run
        return {"skipped": str(error)}
    except NotFinishedError:
        return {"skipped": "not run yet"}
