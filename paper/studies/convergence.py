"""How fast networks learn, and when they overfit (arXiv 2411.02674v4, fast convergence, Fig. 7)."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from paper.result_store import Result, ResultStore
from paper.study import Document, Drawing, Options, Study, Table
from paper.study_figures import SERIES, line_with_band, new_figure, styled
from paper.systems import System, available, train_system, transformer_system, wave_system
from token2wave.formatting import percent
from token2wave.models import TextNetwork
from token2wave.models.encoder_sources import MINILM
from token2wave.training.callbacks import Callback
from token2wave.training.loop import fit
from token2wave.training.schedule import n_batches
from token2wave.training.validation import validate

if TYPE_CHECKING:
    from paper.study_data import StudyData
    from token2wave.models import Batch

STEPS, BETWEEN = 500, 10  # the papers': 500 batches, test accuracy every 10
TEST_ROWS = 1_000  # of the many evaluations on the way; a standard error of at most 1.6 points
EPOCHS = 6
READ_AT = (0, 20, 50, 100, 200, 500)  # steps that the table shows


def systems() -> list[System]:
    """The papers' networks, with nothing in training that the papers do not state."""
    return [
        wave_system("interference", bare=True),
        wave_system("modulation", bare=True),
        transformer_system(MINILM, bare=True),
        transformer_system(None, bare=True),
    ]


def measure(store: ResultStore, options: Options) -> Document:
    """Train every system for the first steps with each seed, and for many epochs with the first seed.

    Returns:
        ``data``, ``caveats``, ``steps``, ``fast`` (system key to ``title`` and ``runs``, a test accuracy a
        step for each seed) and ``long`` (system key to ``title`` and ``epochs``).
    """
    quick = options.quick
    steps, epochs = (30, 2) if quick else (STEPS, EPOCHS)
    seeds = options.seeds[:2] if quick else options.seeds
    many = options.load(train_rows=800 if quick else None, test_rows=300 if quick else None)
    few = options.load(train_rows=steps * 64, test_rows=300 if quick else TEST_ROWS)
    chosen, left_out = available(systems())
    document: Document = {
        "data": many.name,
        "caveats": [*many.texts.caveats, *left_out],
        "steps": list(range(0, steps + 1, BETWEEN)),
        "test_rows_on_the_way": len(few.test),
        "fast": {},
        "long": {},
    }
    for system in chosen:
        some = seeds[:1] if system.key == "transformer-random" else seeds  # not the papers' own
        runs = [_fast(store, few, system, seed, steps)["test_accuracy"] for seed in some]
        document["fast"][system.key] = {"title": system.title, "runs": runs}
    for system in chosen[:3]:
        found = _long(store, many, system, seeds[0], epochs)
        document["long"][system.key] = {"title": system.title, "epochs": found["epochs"]}
    return document


def _fast(store: ResultStore, data: StudyData, system: System, seed: int, steps: int) -> Result:
    """Test accuracy every few steps, in as many passes as they need."""
    batches = n_batches(len(data.train), system.recipe.batch_size)
    recipe = system.recipe.replace(epochs=-(-steps // batches))

    def compute() -> Result:
        store.callback_list.stage(f"convergence: {system.title}, seed {seed}", 0)
        cut = system.data(data)
        network = system.build(cut, seed, store.device)
        tested = _TestEachSteps(cut, steps)
        fit(network, cut.train, None, recipe, seed=seed, has_cls=True, callbacks=[*store.callbacks, tested])
        if len(tested.accuracy) == steps // BETWEEN:  # training has ended with the last step
            tested.accuracy.append(validate(network, cut.test)[1])
        return {"test_accuracy": tested.accuracy}

    settings = {**system.settings(), "recipe": recipe.to_dict(), "data": data.settings, "seed": seed}
    settings |= {"steps": steps, "between": BETWEEN}
    return store.compute(f"convergence/{data.name}/fast-{system.key}-{seed}", settings, compute)


class _TestEachSteps(Callback):
    """Evaluates before the first step, and then after every :data:`BETWEEN` steps."""

    def __init__(self, data: StudyData, steps: int) -> None:
        self.data, self.steps, self.taken = data, steps, 0
        self.accuracy: list[float] = []

    def on_gradients(self, network: TextNetwork, batch: Batch) -> None:
        if self.taken % BETWEEN == 0 and self.taken <= self.steps:
            self.accuracy.append(validate(network, self.data.test)[1])
            network.train()
        self.taken += 1


def _long(store: ResultStore, data: StudyData, system: System, seed: int, epochs: int) -> Result:
    """Accuracy and loss of training, validation and test texts after every epoch, without dropout."""

    def compute() -> Result:
        store.callback_list.stage(f"long run: {system.title}", 0)
        cut = system.data(data)
        longer = replace(system, recipe=system.recipe.replace(epochs=epochs))
        trained = train_system(
            longer, cut, seed, device=store.device, callbacks=store.callbacks, test_every_epoch=True
        )
        return {
            "epochs": [
                {**asdict(epoch), "test_accuracy": test}
                for epoch, test in zip(trained.history.epochs, trained.test_accuracy, strict=True)
            ]
        }

    settings = {**system.settings(), "epochs": epochs, "data": data.settings, "seed": seed}
    return store.compute(f"convergence/{data.name}/long-{system.key}-{seed}", settings, compute)


def tables(document: Document) -> list[Table]:
    """Test accuracy after so many steps, and the course of the long run."""
    shown = [step for step in READ_AT if step in document["steps"]]
    if document["steps"][-1] not in shown:
        shown.append(document["steps"][-1])
    rows = []
    for system in document["fast"].values():
        runs = np.array(system["runs"])
        cells = [percent(float(runs[:, document["steps"].index(step)].mean()), 1) for step in shown]
        rows.append([system["title"], str(len(runs)), *cells])
    head = ["system", "seeds", *(f"{step} steps" for step in shown)]
    fast = Table(
        f"Test accuracy after so many steps of 64 texts, mean of the seeds ({document['data']}, "
        f"{document['test_rows_on_the_way']:,} test rows).",
        head,
        rows,
    )
    long = []
    for system in document["long"].values():
        epochs = system["epochs"]
        best = min(epochs, key=lambda epoch: epoch["validation_loss"])
        last = epochs[-1]
        long.append(
            [
                system["title"],
                str(best["epoch"]),
                f"{best['validation_loss']:.3f}",
                f"{last['validation_loss']:.3f}",
                percent(max(epoch["validation_accuracy"] for epoch in epochs)),
                percent(last["validation_accuracy"]),
                percent(last["train_accuracy"]),
            ]
        )
    head = [
        "system",
        "epoch of the lowest validation loss",
        "that loss",
        "last validation loss",
        "best validation accuracy",
        "last validation accuracy",
        "last training accuracy",
    ]
    caption = (
        f"The long run, {len(epochs)} epochs at a constant rate without regularisation; losses in nats. "
        "Training accuracy is counted while the weights move."
    )
    return [fast, Table(caption, head, long)]


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
            epochs = system["epochs"]
            x = [epoch["epoch"] for epoch in epochs]
            style = SERIES[i]
            for axis, name, scale in ((accuracy, "accuracy", 100), (loss, "loss", 1)):
                for part, line, fill in (("train", "--", "none"), ("validation", "-", None)):
                    axis.plot(
                        x,
                        [scale * epoch[f"{part}_{name}"] for epoch in epochs],
                        color=style["color"],
                        marker=style["marker"],
                        linestyle=line,
                        markerfacecolor=fill or style["color"],
                        label=f"{system['title'].split(',')[0]}{_short(system['title'])}, {part}",
                    )
        accuracy.set(xlabel="epoch", ylabel="accuracy (%)")
        loss.set(xlabel="epoch", ylabel="cross-entropy (nats per text)")
        long.legend(*accuracy.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=7.5)
    n_seeds = len(next(iter(document["fast"].values()))["runs"])
    first = Drawing(
        figure,
        f"Test accuracy on {document['data']} ({document['test_rows_on_the_way']:,} test rows) in the first "
        f"{document['steps'][-1]} steps, at a constant rate of 1e-3 and without regularisation. Lines are "
        f"means of {n_seeds} seeds (random embeddings: one), bands reach from the lowest to the highest.",
    )
    second = Drawing(
        long,
        f"The long run on {document['data']} (the papers' Fig. 7): filled markers are validation, open "
        "markers training texts. Training figures are counted while the weights move. One seed.",
    )
    return {"convergence": first, "long-run": second}


def _short(title: str) -> str:
    """What tells two networks of a kind apart."""
    rest = title.split(", ")[1:]
    return "" if not rest else ", " + rest[-1]


STUDY = Study(
    "convergence",
    "Convergence and overfitting",
    "How fast does a network learn, and when does it stop learning what carries over? The papers show test "
    "accuracy every ten batches of the first 500, and a run of 100 epochs. Here both are trained with what "
    "the papers state (batch 64, rate 1e-3) and nothing that they do not: no warm-up, no decay of the rate, "
    f"no dropout or weight decay. The long run has {EPOCHS} epochs, not 100.",
    measure,
    tables,
    drawings,
)
