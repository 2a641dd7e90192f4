"""How fast networks learn, and when they overfit (arXiv 2411.02674v4, fast convergence and Fig. 7)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from paper.correlation import pack_scores
from paper.result_store import Result, ResultStore
from paper.studies.convergence_claims import judge
from paper.study import Document, Drawing, Options, Study, StudyData, Table
from paper.study_figures import SERIES, line_with_band, new_figure, styled
from paper.systems import System, available, probe_training, train_system, transformer_system, wave_system
from token2wave.formatting import percent
from token2wave.models import TextNetwork
from token2wave.models.encoder_sources import MINILM

STEPS, INTERVAL = 500, 10  # the papers': 500 batches, test accuracy every 10
TEST_ROWS = 1_000  # for the test accuracy during training; a standard error of at most 1.6 points
EPOCHS = 100  # the papers'
LONG_RUN_ROWS, LONG_RUN_WIDTH = 10_000, 128
"""Of the long run: all rows at the papers' width take days without a graphics card."""
FIGURES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_accuracy")
SHOWN_STEPS = (0, 20, 50, 100, 200, 500)


def measure(store: ResultStore, options: Options) -> Document:
    """Train every system for the first steps with each seed, and for many epochs with the first seed."""
    quick = options.quick
    steps, epochs = (30, 2) if quick else (STEPS, EPOCHS)
    seeds = options.seeds[:2] if quick else options.seeds
    sample = options.load(train_rows=320 if quick else LONG_RUN_ROWS, test_rows=300 if quick else TEST_ROWS)
    few_rows = options.load(train_rows=steps * 64, test_rows=300 if quick else TEST_ROWS)
    waves = [wave_system(operation, unregularised=True) for operation in ("interference", "modulation")]
    transformers = [transformer_system(embeddings, unregularised=True) for embeddings in (MINILM, None)]
    systems, left_out = available([*waves, *transformers])
    document: Document = {
        "data": sample.name,
        "caveats": [*sample.texts.caveats, *left_out],
        "long_run_rows": len(sample.train),
        "long_run_width": 8 if quick else LONG_RUN_WIDTH,
        "steps": list(range(0, steps + 1, INTERVAL)),
        "test_rows_on_the_way": len(few_rows.test),
        "fast": {},
        "long": {},
    }
    for system in systems:
        runs = [_measure_steps(store, few_rows, system, seed, steps) for seed in seeds]
        document["fast"][system.key] = {
            "title": system.title,
            "runs": [run["test_accuracy"] for run in runs],
            "of_texts": [run["of_texts"] for run in runs],
        }
    for system in _long_run_systems(8 if quick else LONG_RUN_WIDTH):
        longer = replace(system, recipe=system.recipe.replace(epochs=epochs))
        runs = [_measure_epochs(store, sample, longer, seed)["epochs"] for seed in seeds]
        document["long"][system.key] = {"title": system.title, "runs": runs}
    return document


def _long_run_systems(width: int) -> list[System]:
    """Wave networks, and a Transformer of the same width that starts from embeddings of the same size."""
    waves = [wave_system(each, unregularised=True, width=width) for each in ("interference", "modulation")]
    shape = {"width": width, "heads": max(2, width // 64), "feed_forward": 4 * width, "embedding_scale": 0.1}
    return [*waves, transformer_system(None, unregularised=True, **shape)]


def _measure_steps(store: ResultStore, data: StudyData, system: System, seed: int, steps: int) -> Result:
    """Test accuracy every few steps, in as many epochs as they need."""

    def compute() -> Result:
        encoded = system.encode(data)

        def test(network: TextNetwork, _: int) -> NDArray[np.bool_]:
            right: NDArray[np.bool_] = (
                network.logits(encoded.test.features).argmax(axis=1) == encoded.test.labels
            )
            return right

        right = np.array(probe_training(store, system, encoded, seed, steps, INTERVAL, test))  # (steps, N)
        return {
            "test_accuracy": right.mean(axis=1).tolist(),
            "of_texts": pack_scores(right.mean(axis=0)),
        }

    settings = {
        **system.settings(),
        "data": data.settings,
        "seed": seed,
        "steps": steps,
        "interval": INTERVAL,
    }
    name = f"convergence/{data.name}/fast-{system.key}-{seed}"
    return store.compute(name, settings, compute, f"convergence: {system.title}, seed {seed}")


def _measure_epochs(store: ResultStore, data: StudyData, system: System, seed: int) -> Result:
    """Accuracy and loss on all splits after every epoch."""

    def compute() -> Result:
        history = train_system(store, system, system.encode(data), seed).history
        return {"epochs": [{name: float(f"{entry[name]:.4g}") for name in FIGURES} for entry in history]}

    settings = {**system.settings(), "data": data.settings, "seed": seed}
    name = f"convergence/{data.name}/long-{system.key}-{seed}"
    return store.compute(name, settings, compute, f"long run: {system.title}, seed {seed}")


def tables(document: Document) -> list[Table]:
    """Test accuracy after some steps, and the course of the long run."""
    steps = document["steps"]
    selected = sorted({step for step in SHOWN_STEPS if step in steps} | {steps[-1]})
    fast = []
    for system in document["fast"].values():
        runs = np.array(system["runs"])
        cells = [percent(float(runs[:, steps.index(step)].mean()), 1) for step in selected]
        fast.append([system["title"], str(len(runs)), *cells])
    long, n_epochs = [], 0
    for system in document["long"].values():
        losses = np.array([[epoch["validation_loss"] for epoch in run] for run in system["runs"]])
        accuracies = np.array([[epoch["validation_accuracy"] for epoch in run] for run in system["runs"]])
        last = float(np.mean([run[-1]["train_accuracy"] for run in system["runs"]]))
        n_epochs = losses.shape[1]
        lowest = ", ".join(str(1 + at) for at in losses.argmin(axis=1).tolist())
        means = [f"{losses.min(axis=1).mean():.3f}", f"{losses[:, -1].mean():.3f}"]
        best = float(accuracies.max(axis=1).mean()), float(accuracies[:, -1].mean())
        long.append([system["title"], lowest, *means, *(percent(each) for each in (*best, last))])
    head = ["system", "epoch of the lowest validation loss", "that loss", "last validation loss"]
    head += ["best validation accuracy", "last validation accuracy", "last training accuracy"]
    return [
        Table(
            f"Test accuracy after training steps of 64 texts, mean of the seeds ({document['data']}, "
            f"{document['test_rows_on_the_way']:,} test rows).",
            ["system", "seeds", *(f"{step} steps" for step in selected)],
            fast,
        ),
        Table(
            f"The long run, {n_epochs} epochs of {document['long_run_rows']:,} rows, width "
            f"{document['long_run_width']}, at a constant rate without regularisation: means over seeds; "
            "losses in nats. Training accuracy is counted during training.",
            head,
            long,
        ),
    ]


def drawings(document: Document) -> dict[str, Drawing]:
    """Test accuracy against steps, and accuracy and loss against epochs."""
    with styled():
        figure, (axes,) = new_figure(width=5.4, height=3.4)
        for i, system in enumerate(document["fast"].values()):
            runs = [[100 * value for value in run] for run in system["runs"]]
            line_with_band(axes, document["steps"], runs, system["title"], i)
        axes.set(xlabel="training steps (64 texts each)", ylabel="test accuracy (%)", ylim=(0, 100))
        axes.legend(loc="lower right")
        long, (accuracy, loss) = new_figure(2, width=3.9, height=3.3)
        for i, system in enumerate(document["long"].values()):
            first, *rest = system["title"].split(", ")
            title = ", ".join([first, *rest[-1:]])
            for axis, name, scale in ((accuracy, "accuracy", 100), (loss, "loss", 1)):
                for split, line, fill in (("train", "--", "none"), ("validation", "-", SERIES[i]["color"])):
                    style = {**SERIES[i], "linestyle": line, "markerfacecolor": fill}
                    curves = [[epoch[f"{split}_{name}"] for epoch in run] for run in system["runs"]]
                    values = scale * np.mean(curves, axis=0)
                    every = max(1, len(values) // 10)
                    epochs = range(1, len(values) + 1)
                    axis.plot(epochs, values, label=f"{title}, {split}", markevery=every, **style)
        accuracy.set(xlabel="epoch", ylabel="accuracy (%)")
        loss.set(xlabel="epoch", ylabel="cross-entropy (nats per text)")
        long.legend(*accuracy.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=7.5)
    n_seeds = len(next(iter(document["fast"].values()))["runs"])
    return {
        "convergence": Drawing(
            figure,
            f"Test accuracy on {document['data']} ({document['test_rows_on_the_way']:,} test rows) in the "
            f"first {document['steps'][-1]} steps, at a constant rate of 1e-3 without regularisation. "
            f"Lines are means of {n_seeds} seeds, bands span the lowest to the highest.",
        ),
        "long-run": Drawing(
            long,
            f"The long run on {document['data']} (the papers' Fig. 7): filled markers are validation, open "
            "markers training texts; means over seeds. Training figures are counted during training.",
        ),
    }


STUDY = Study(
    "convergence",
    "Convergence and overfitting",
    "How fast does a network learn, and when does it stop generalising? The papers show test accuracy every "
    "ten batches of the first 500, and a run of 100 epochs. Here both train at the papers' constant rate of "
    "1e-3 in batches of 64, without dropout and weight decay, and from the initial weights of preset paper. "
    f"The long run has the papers' {EPOCHS} epochs of a sample of {LONG_RUN_ROWS:,} rows at width "
    f"{LONG_RUN_WIDTH}: all rows at their width take days without a graphics card.",
    measure,
    tables,
    drawings,
    judge,
)
