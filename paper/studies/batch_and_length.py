"""How fast networks learn with small and large batches, and from short and long texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from paper.result_store import NotFinishedError, Result, ResultStore
from paper.studies.batch_and_length_claims import judge
from paper.studies.batch_results import drawings, tables
from paper.studies.batch_settings import (
    HEADS,
    LARGEST_BATCH,
    REFERENCE_BATCH,
    SYSTEMS,
    TRANSFORMER_LENGTHS,
    WIDTH,
    Setting,
    batch_settings,
    length_settings,
)
from paper.study import Document, Options, Study, StudyData
from paper.training_curves import ROWS_ON_THE_WAY, cut_texts, train_with_curve

TRAIN_ROWS, TEST_ROWS, OTHER = 10_240, 10_000, "imdb"
BATCH_PLAN = {
    "epochs": 5,
    "interval": 1_024,
    "accuracies": [0.80, 0.85],
    "compared": [LARGEST_BATCH, REFERENCE_BATCH],
}
LENGTH_PLAN = {"epochs": 2, "interval": 1_024, "accuracies": [0.75, 0.80], "compared": [512, 128]}
"""Epochs; texts between two measurements; accuracies that count; and which batches or lengths to compare."""
QUICK_BATCH_PLAN = {"epochs": 2, "interval": 64, "accuracies": [0.40, 0.60], "compared": [128, 64]}
QUICK_LENGTH_PLAN = {"epochs": 2, "interval": 64, "accuracies": [0.40, 0.60], "compared": [16, 5]}


def measure(store: ResultStore, options: Options) -> Document:
    """Train every network with each seed.

    Returns:
        Settings; ``batch`` and ``length``, each with its data and ``networks``, which have ``runs`` (one a
        seed) of :func:`paper.training_curves.train_with_curve`; ``unfinished``, networks that lack some run.
        Without the data of long texts there is no ``length``.
    """
    quick = options.quick
    seeds = options.seeds[:2] if quick else options.seeds
    sizes = (256, 128) if quick else (TRAIN_ROWS, TEST_ROWS)
    (data, *others), left_out = options.load_several((OTHER,), *sizes)
    document: Document = {
        "seeds": list(seeds),
        "width": 16 if quick else WIDTH,
        "caveats": [*data.texts.caveats, *left_out],
        "unfinished": [],
    }
    batch_plan, length_plan = (QUICK_BATCH_PLAN, QUICK_LENGTH_PLAN) if quick else (BATCH_PLAN, LENGTH_PLAN)
    parts = [("batch", data, batch_settings(quick), batch_plan)]
    for long_texts in [data] if quick else others:
        parts.append(("length", long_texts, length_settings(quick), length_plan))
    for part, texts, settings, plan in parts:
        rows = {split: len(getattr(texts, split)) for split in ("train", "validation", "test")}
        document[part] = {"data": texts.name, "rows": rows, **plan, "networks": []}
        for setting in settings:
            try:
                runs = _runs(store, texts, setting, document["width"], plan, seeds)
            except NotFinishedError:
                document["unfinished"].append(f"{part} {setting.key}")
                continue
            network = {"key": setting.key, **asdict(setting), "rate_factor": setting.rate_factor}
            document[part]["networks"].append({**network, "runs": runs})
    if not document["batch"]["networks"]:
        raise NotFinishedError("batch_and_length")
    return document


def _runs(
    store: ResultStore,
    data: StudyData,
    setting: Setting,
    width: int,
    plan: Mapping[str, Any],
    seeds: Iterable[int],
) -> list[Result]:
    """Train a network with every seed."""
    system = setting.to_train(width, plan["epochs"])
    texts = cut_texts(data, setting.length) if setting.length else data

    def run(seed: int) -> Result:
        settings = {"system": system.settings(), "data": texts.settings, "seed": seed}
        settings["interval"] = plan["interval"]
        name = f"batch_and_length/{data.name}/{setting.key}-{seed}"
        return store.compute(
            name,
            settings,
            lambda: train_with_curve(store, system, texts, seed, plan["interval"]),
            f"{SYSTEMS[setting.system]}, {_describe(asdict(setting))}, seed {seed}",
        )

    return [{"seed": seed, **run(seed)} for seed in seeds]


def _describe(network: Mapping[str, Any]) -> str:
    if network["length"]:
        return f"{network['length']} tokens"
    rule = "" if network["rule"] == "constant" else f", {network['rule']}"
    return f"batch {network['batch']:,}{rule}"


STUDY = Study(
    "batch_and_length",
    "Batch size, length of texts, and convergence",
    "Does a Wave network learn faster with large batches, or from long texts (open question)? Each network "
    "is trained at a constant rate without warm-up or regularisation, as for the papers' fast convergence, "
    "and its validation accuracy is measured at equal numbers of texts. The rate is the papers' 1e-3; or it "
    f"grows with the batch relative to {REFERENCE_BATCH}: in proportion (Goyal et al. 2017, arXiv "
    "1706.02677), or with the square root, which suits Adam (Malladi et al. 2022, arXiv 2205.10287). Goyal "
    "et al. also warm up; that is left out, because the rate would then change over the texts. "
    f"{TRAIN_ROWS:,} training rows make whole batches of every size. The Transformer has one layer, {HEADS} "
    "heads, random embeddings N(0, 0.1²) as the Wave network has, and batches of texts of similar length. "
    f"Because it is slow, it is measured at batches of {REFERENCE_BATCH} and {LARGEST_BATCH:,} alone, "
    f"without the rate in proportion, and at {len(TRANSFORMER_LENGTHS)} lengths. Long texts are IMDB's, cut "
    f"to 32 to 512 tokens with [CLS] and [SEP], at a batch of {REFERENCE_BATCH}. Costs count until the "
    f"stated fractions of a random {ROWS_ON_THE_WAY:,} validation rows are right, linear between two "
    "measurements. A run that does not get there costs more than all it has spent. Test rows are answered "
    "with the weights of the best epoch by all validation rows. Verdicts follow from steps, tokens and "
    "answers; seconds carry none.",
    measure,
    tables,
    drawings,
    judge,
)
