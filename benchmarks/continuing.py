r"""What going on with a trained model gives, and what it costs: more rows, and a class that it did not have.

    python benchmarks/continuing.py                                            # judged on the test texts
    python benchmarks/continuing.py --judge held --name continuing-rates --rates 0.03,0.1,0.3 --epochs 3,6

*More rows*: trained on half of the training rows, updated with the other half; beside training with all.
*A new class*: each class in turn is left out of training, and then added by ``token2wave.update`` with all of
its rows and some of each known class. Figures are the difference in accuracy on the texts of the known
classes, and the accuracy on those of the new one, each the mean over all classes; beside what training again
from the beginning with all rows gives. Writes ``results/benchmarks/NAME.json``, rendered by
``tools/render_results.py``. With ``--judge held`` a fifth of the training rows takes the test texts' place:
choices are made on these.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from measuring import RESULTS, code_state, write_document
from numpy.typing import NDArray
from sweep import held_out

import token2wave
from token2wave.classifier import Classifier
from token2wave.core import n_threads
from token2wave.data import TextDataset, TextSplit, load_splits
from token2wave.training import incremental
from token2wave.training.result import machine
from token2wave.versions import versions

KNOWN_ROWS = (20, 100, None)  # of each known class beside a new one; None: all


@dataclass(frozen=True)
class Corpus:
    """Training rows, and texts to judge by.

    Attributes:
        train: what to learn from.
        judged: texts that are not learnt from.
    """

    train: TextSplit
    judged: TextSplit

    @classmethod
    def of(cls, name: str, judge: str) -> Corpus:
        """Read a data set; with ``held`` its test texts are not looked at."""
        splits = held_out(name, "random") if judge == "held" else load_splits(name)
        assert splits.test is not None
        return cls(splits.train, splits.test)

    def rows(self, chosen: Iterable[int]) -> TextSplit:
        """Some of the training rows."""
        train, numbers = self.train, list(chosen)
        return TextSplit([train.texts[i] for i in numbers], [train.labels[i] for i in numbers], train.source)

    def accuracy(self, classifier: Classifier, labels: Iterable[str] | None = None) -> float:
        """Accuracy on the texts of some classes, or on all."""
        wanted = set(self.judged.labels if labels is None else labels)
        chosen = [i for i, label in enumerate(self.judged.labels) if label in wanted]
        found = classifier.labels([self.judged.texts[i] for i in chosen])
        return statistics.mean(label == self.judged.labels[i] for label, i in zip(found, chosen, strict=True))


def trained(rows: TextSplit, preset: str, seed: int) -> Classifier:
    """A classifier of some rows, with nothing set."""
    data = TextDataset("some rows", rows, None, None, None, ())
    return token2wave.train(data, preset=preset, seed=seed).classifier


def with_known(
    corpus: Corpus, new: str, n_known: int | None, random: np.random.Generator
) -> NDArray[np.int64]:
    """Numbers of all rows of a new class, and of some of each known one."""
    labels = np.array(corpus.train.labels)
    chosen = [np.flatnonzero(labels == new)]
    for label in sorted(set(corpus.train.labels) - {new}):
        chosen.append(random.permutation(np.flatnonzero(labels == label))[:n_known])
    return np.sort(np.concatenate(chosen))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default="continuing")
    parser.add_argument("--data", default="debian-sections")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--judge", choices=["test", "held"], default="test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rates", help="shares of the rates, apart by commas; those in use, if not given")
    parser.add_argument("--epochs", default=str(incremental.EPOCHS), help="numbers, apart by commas")
    parser.add_argument(
        "--classes", type=int, help="how many classes to leave out in turn; all, if not given"
    )
    arguments = parser.parse_args()
    corpus, seed = Corpus.of(arguments.data, arguments.judge), arguments.seed
    names = sorted(set(corpus.train.labels))
    left_out = names[: arguments.classes]
    half = np.random.default_rng(seed).random(len(corpus.train)) < 0.5
    of_all = trained(corpus.train, arguments.preset, seed)
    of_half = trained(corpus.rows(np.flatnonzero(half)), arguments.preset, seed)
    known: dict[str, Classifier] = {}
    for name in left_out:
        rows = [i for i, label in enumerate(corpus.train.labels) if label != name]
        known[name] = trained(corpus.rows(rows), arguments.preset, seed)
    before = {name: corpus.accuracy(known[name], set(names) - {name}) for name in left_out}

    def cost_and_gain(classifiers: dict[str, Classifier]) -> dict[str, float]:
        costs = [corpus.accuracy(classifiers[n], set(names) - {n}) - before[n] for n in left_out]
        gains = [corpus.accuracy(classifiers[n], {n}) for n in left_out]
        return {
            "known": statistics.mean(costs),
            "known, worst": min(costs),
            "new": statistics.mean(gains),
        }

    document: dict[str, Any] = {
        "name": arguments.name,
        "data": arguments.data,
        "preset": arguments.preset,
        "judge": arguments.judge,
        "seed": seed,
        "classes left out": left_out,
        "half": corpus.accuracy(of_half),
        "all": corpus.accuracy(of_all),
        "again": cost_and_gain(dict.fromkeys(left_out, of_all)),
        "variants": [],
        "code": code_state(),
        "versions": versions(),
        "machine": machine(n_threads(), "cpu"),
    }
    for rate in map(float, arguments.rates.split(",")) if arguments.rates else (None,):
        if rate is not None:
            incremental.LR_FACTOR = rate
        for epochs in map(int, arguments.epochs.split(",")):
            more = corpus.rows(np.flatnonzero(~half))
            updated = token2wave.update(of_half, more.texts, more.labels, epochs=epochs, seed=seed)
            found: dict[str, Any] = {"rate": rate, "epochs": epochs, "more": corpus.accuracy(updated)}
            for n_known in KNOWN_ROWS:
                random, added = np.random.default_rng(seed), {}
                for name in left_out:
                    rows = corpus.rows(with_known(corpus, name, n_known, random))
                    added[name] = token2wave.update(
                        known[name], rows.texts, rows.labels, epochs=epochs, seed=seed
                    )
                found["all rows" if n_known is None else f"{n_known} rows"] = cost_and_gain(added)
            document["variants"].append(found)
            print(found, flush=True)
            write_document(RESULTS / f"{arguments.name}.json", document)


def table(document: dict[str, Any]) -> str:
    """Tables of both questions."""
    judged = "test texts" if document["judge"] == "test" else "a fifth of the training rows, held out"
    settings = len(document["variants"]) > 1
    lines = [
        "| "
        + ("rates, epochs | " if settings else "")
        + "half of the rows | updated with the other half | trained with all |",
        "|---" * (3 + settings) + "|",
    ]
    for found in document["variants"]:
        cells = [f"{100 * value:.2f}" for value in (document["half"], found["more"], document["all"])]
        lines.append("| " + " | ".join([*_setting(found, settings), *cells]) + " |")
    lines += [
        "",
        "| "
        + ("rates, epochs | " if settings else "")
        + "rows of each known class | known classes, mean | worst | new class |",
        "|---" * (4 + settings) + "|",
    ]
    for found in document["variants"]:
        for key in ("20 rows", "100 rows", "all rows"):
            lines.append(_row(_setting(found, settings), key.removesuffix(" rows"), found[key]))
    lines.append(_row(["" for _ in range(settings)], "all, trained again", document["again"]))
    judged += f": accuracy in percent. Second table, mean over {len(document['classes left out'])} classes, "
    return "\n".join(lines) + (
        f"\n\n{document['data']}, preset `{document['preset']}`, seed {document['seed']}, judged on {judged}"
        "each left out once: difference on the texts of the known classes, in points, and accuracy on those "
        "of the new one.\n"
    )


def _setting(found: dict[str, Any], shown: bool) -> list[str]:
    return [f"{found['rate']:g}, {found['epochs']}"] if shown else []


def _row(setting: list[str], known: str, found: dict[str, float]) -> str:
    cells = [
        f"{100 * found['known']:+.2f}",
        f"{100 * found['known, worst']:+.2f}",
        f"{100 * found['new']:.1f}",
    ]
    return "| " + " | ".join([*setting, known, *cells]) + " |"


if __name__ == "__main__":
    main()
