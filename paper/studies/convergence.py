"""How fast networks learn, and when they overfit (arXiv 2411.02674v4, fast convergence and Fig. 7)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from paper.result_store import Result, ResultStore
from paper.studies.convergence_claims import judge
from paper.study import Document, Drawing, Options, Study, StudyData, Table
from paper.study_figures import SERIES, line_with_band, new_figure, styled
from paper.systems import System, available, probe_training, train_system, transformer_system, wave_system
from token2wave.formatting import percent
from token2wave.models import TextNetwork
from token2wave.models.encoder_sources import MINILM
from token2wave.training.validation import validate

STEPS, INTERVAL = 500, 10  # the papers': 500 batches, test accuracy every 10
TEST_ROWS = 1_000  # for the test accuracy during training; a standard error of at most 1.6 points
EPOCHS, LONG_RUN_ROWS = 100, 10_000  # all rows for 100 epochs take hours without a graphics card
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
        "steps": list(range(0, steps + 1, INTERVAL)),
        "test_rows_on_the_way": len(few_rows.test),
        "fast": {},
        "long": {},
    }
    for system in systems:
        runs = [_measure_steps(store, few_rows, system, seed, steps) for seed in seeds]
        accuracies = [run["test_accuracy"] for run in runs]
        document["fast"][system.key] = {"title": system.title, "runs": accuracies}
    for system in systems[:3]:
        longer = replace(system, recipe=system.recipe.replace(epochs=epochs))
        result = _measure_epochs(store, sample, longer, seeds[0])
        document["long"][system.key] = {"title": system.title, **result}
    return document


def _measure_steps(store: ResultStore, data: StudyData, system: System, seed: int, steps: int) -> Result:
    """Test accuracy every few steps, in as many epochs as they need."""

    def compute() -> Result:
        encoded = system.encode(data)

        def test(network: TextNetwork, _: int) -> float:
            return validate(network, encoded.test)[1]

        return {"test_accuracy": probe_training(store, system, encoded, seed, steps, INTERVAL, test)}

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
        return {"epochs": train_system(store, system, system.encode(data), seed).history}

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
        epochs = system["epochs"]
        best, last = min(epochs, key=lambda epoch: epoch["validation_loss"]), epochs[-1]
        n_epochs = len(epochs)
        losses = [f"{epoch['validation_loss']:.3f}" for epoch in (best, last)]
        accuracies = [max(epoch["validation_accuracy"] for epoch in epochs), last["validation_accuracy"]]
        figures = [percent(value) for value in (*accuracies, last["train_accuracy"])]
        long.append([system["title"], str(best["epoch"]), *losses, *figures])
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
            f"The long run, {n_epochs} epochs of {_long_run_rows(document)} at a constant rate without "
            "regularisation; losses in nats. "
            "Training accuracy is counted during training.",
            head,
            long,
        ),
    ]


def _long_run_rows(document: Document) -> str:
    return f"{document['long_run_rows']:,} rows" if "long_run_rows" in document else "all rows"


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
                    epochs = [epoch["epoch"] for epoch in system["epochs"]]
                    values = [scale * epoch[f"{split}_{name}"] for epoch in system["epochs"]]
                    axis.plot(epochs, values, label=f"{title}, {split}", **style)
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
            "markers training texts. Training figures are counted during training. One seed.",
        ),
    }


STUDY = Study(
    "convergence",
    "Convergence and overfitting",
    "How fast does a network learn, and when does it stop generalising? The papers show test accuracy every "
    "ten batches of the first 500, and a run of 100 epochs. Here both train with only what the papers state "
    "(batch 64, rate 1e-3): no warm-up, no decay of the rate, no dropout, no weight decay. The long run "
    f"has the papers' {EPOCHS} epochs of a sample of {LONG_RUN_ROWS:,} rows, not of all.",
    measure,
    tables,
    drawings,
    judge,
)
