"""Comparisons, tables and figures of the study of word order, from its document alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from paper.statistics import (
    Answers,
    Lead,
    compare,
    compare_sets,
    gains_of,
    pack_answers,
    stack_answers,
    unpack_answers,
)
from paper.studies.word_order_networks import MULTIPLIED, OPERATIONS, SCALES
from paper.study import Document, Drawing, Table, describe_training
from paper.study_figures import MUTED, SERIES, new_figure, styled
from paper.verdicts import MARGIN, judge_lead
from token2wave.formatting import NOTHING

ORDERS = {
    "none": "none",
    "sinusoidal": "sinusoidal positions",
    "learned": "learned positions",
    "neighbours": "neighbours",
}
LINEAR = 1.0  # points around zero that figures show on a linear scale
Leads = dict[str, Lead]


class Texts(NamedTuple):
    """Test texts of a corpus of the document: all of them, or a subset with its name."""

    corpus: dict[str, Any]
    mask: Answers
    subset: str | None = None

    @property
    def title(self) -> str:
        """Name of the data, with that of the subset."""
        return f"{self.corpus['data']}, {self.subset}" if self.subset else str(self.corpus["data"])

    @property
    def others(self) -> Texts:
        """The texts of the corpus that are not among these."""
        return Texts(self.corpus, ~self.mask)

    def answers(self, network: Mapping[str, Any], name: str = "right") -> Answers:
        """Whether the network of each seed is right about each of the texts, ``(S, N)``."""
        return _unpack(_packed(network, name), len(self.mask))[:, self.mask]

    def compare(
        self, first: Mapping[str, Any], second: Mapping[str, Any], name: str, n_comparisons: int
    ) -> Lead:
        """Compare the first network's answers with ``name`` of the second's."""
        packed = _packed(first, "right"), _packed(second, name)
        return _compare(*packed, pack_answers(self.mask), len(self.mask), n_comparisons)


def _packed(network: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(run[name] for run in network["runs"])


def _unpack(packed: tuple[str, ...], n_texts: int) -> Answers:
    return stack_answers([{"right": answers} for answers in packed], n_texts)


@cache  # tables, figures and claims ask for the same comparisons, of a tenth of a second each
def _compare(
    first: tuple[str, ...], second: tuple[str, ...], mask: str, n_texts: int, n_comparisons: int
) -> Lead:
    chosen = unpack_answers(mask, n_texts)
    both = (_unpack(packed, n_texts)[:, chosen] for packed in (first, second))
    return compare(*both, n_comparisons=n_comparisons)


def texts_of(document: Document) -> Iterator[Texts]:
    """Every corpus, and after it its subsets."""
    for corpus in document["corpora"]:
        n_texts = corpus["rows"]["test"]
        yield Texts(corpus, np.ones(n_texts, dtype=bool))
        for name, packed in corpus["subsets"].items():
            yield Texts(corpus, unpack_answers(packed, n_texts), name)


def gains_by_order(texts: Texts) -> Leads:
    """Lead of each network that sees order over its reference, by key; the intervals hold together."""
    networks = {network["key"]: network for network in texts.corpus["networks"]}
    pairs = {
        key: (network, networks[network["reference"]])
        for key, network in networks.items()
        if network["reference"] in networks
    }
    return {
        key: texts.compare(network, reference, "right", len(pairs))
        for key, (network, reference) in pairs.items()
    }


def losses_by_shuffling(texts: Texts) -> Leads:
    """Lead of each network over itself on shuffled words, by key.

    The intervals of networks that see order hold together; the others lose nothing.
    """
    networks = texts.corpus["networks"]
    n_comparisons = max(1, sum(network["order"] != "none" for network in networks))
    return {
        network["key"]: texts.compare(network, network, "right_shuffled", n_comparisons)
        for network in networks
    }


class BestPlaced(NamedTuple):
    """An operation's network with sinusoidal positions, and those without that it is compared with.

    Attributes:
        placed: with the embeddings of the best validation accuracy.
        same: without positions, with the same embeddings.
        plain: without positions, with the embeddings of the best validation accuracy.
        n_comparisons: pairs of networks in the table, and what this adds for both operations.
    """

    placed: dict[str, Any]
    same: dict[str, Any]
    plain: dict[str, Any]
    n_comparisons: int

    def gains(self, texts: Texts) -> Leads:
        """Lead of the network with positions on some texts, over each of the others."""
        rivals = {"the same embeddings": self.same, "the best embeddings": self.plain}
        if self.plain is self.same:
            rivals = {"the same embeddings, which are the best": self.same}
        return {
            f"{title} without positions": texts.compare(self.placed, rival, "right", self.n_comparisons)
            for title, rival in rivals.items()
        }

    def excess(self, texts: Texts) -> Lead:
        """The lead over the same embeddings on some texts, minus that on the other texts of the corpus."""
        gains = [
            gains_of(each.answers(self.placed), each.answers(self.same)) for each in (texts, texts.others)
        ]
        # the mean of twice the first set and minus twice the second is their difference
        return compare_sets([2 * gains[0], -2 * gains[1]], n_comparisons=self.n_comparisons)


def best_placed(corpus: Mapping[str, Any], operation: str) -> BestPlaced | None:
    """Choose the embeddings of each network by validation texts; None if one did not run."""
    networks = {network["key"]: network for network in corpus["networks"]}
    keys = [f"{operation}-{size}" for size in (*(f"{scale:g}" for scale in SCALES), MULTIPLIED)]
    pairs = [
        (networks[f"{key}-sinusoidal"], networks[f"{key}-none"])
        for key in keys
        if f"{key}-sinusoidal" in networks and f"{key}-none" in networks
    ]
    if not pairs:
        return None
    placed, same = max(pairs, key=lambda pair: _validation_accuracy(pair[0]))
    plain = max((plain for _, plain in pairs), key=_validation_accuracy)
    n_pairs = sum(network["reference"] in networks for network in networks.values())
    n_further = 2 * len(OPERATIONS)  # the lead over the best network without, and the excess
    return BestPlaced(placed, same, plain, n_pairs + n_further)


def _validation_accuracy(network: Mapping[str, Any]) -> float:
    return float(np.mean([run["validation_accuracy"] for run in network["runs"]]))


def find_texts(document: Document, data: str, subset: str | None = None) -> Texts | None:
    """The texts of a data set or of its subset; None if they were not measured."""
    every = texts_of(document)
    return next((t for t in every if (t.corpus["data"], t.subset) == (data, subset)), None)


def tables(document: Document) -> list[Table]:
    """A table for each data set and each subset of its test texts."""
    return [_table(document, texts) for texts in texts_of(document) if texts.corpus["networks"]]


def _table(document: Document, texts: Texts) -> Table:
    gains, losses = gains_by_order(texts), losses_by_shuffling(texts)
    rows = []
    for network in texts.corpus["networks"]:
        key, right = network["key"], texts.answers(network)
        cells = [network["title"], ORDERS[network["order"]], f"{100 * right.mean():.2f}"]
        gain, loss = gains.get(key), losses[key]
        if gain is None:
            cells += [NOTHING] * 3
        else:
            cells += [str(gain), f"{gain.mcnemar:.3f}", judge_lead(gain)]
        sees = network["order"] != "none"
        cells += [str(loss) if sees else f"{loss.mean:+.2f}", judge_lead(loss) if sees else NOTHING]
        rows.append(cells)
    head = ["network", "word order", "test accuracy (%)", "gain by word order", "McNemar's p", "is better"]
    head += ["loss by shuffled words", "uses word order"]
    caption = describe_training({**document, **texts.corpus})
    if texts.subset:
        n_texts = int(texts.mask.sum())
        caption = f"{texts.title}: {n_texts:,} of the {len(texts.mask):,} test texts. {caption}"
    caption += (
        " Differences are paired over seeds and test texts; intervals of 95 % for all of a column together. "
        "McNemar's p is the median over seeds. The gain is the lead over the same network "
        "without word order, the loss that over the same weights on shuffled words."
    )
    if document["unfinished"]:
        caption += f" Not finished: {', '.join(document['unfinished'])}."
    return Table(caption, head, rows, n_names=2)


def drawings(document: Document) -> dict[str, Drawing]:
    """Gain by word order, and loss by shuffled words, of every network that sees order."""
    described = (
        f"{document['epochs']} epochs, width {document['width']}, seeds "
        f"{', '.join(map(str, document['seeds']))}. Bars are intervals over seeds and test texts, of 95 % "
        f"for all of a panel together. The band is {MARGIN} points on each side of zero; the scale is linear "
        f"from -{LINEAR:g} to {LINEAR:g} and logarithmic beyond."
    )
    gains = _panels(document, gains_by_order, "gain in accuracy, points")
    losses = _panels(document, losses_by_shuffling, "loss of accuracy, points")
    return {
        "word-order": Drawing(
            gains,
            f"What networks gain when they see the order of words, by test texts. {described} The reference "
            "is the same network without it.",
        ),
        "word-order-shuffled": Drawing(
            losses,
            f"What networks lose when the words of the test texts are shuffled, by test texts. {described}",
        ),
    }


def _panels(document: Document, leads_of: Callable[[Texts], Leads], label: str) -> Any:
    """A panel for each data set and subset, a row for each network that sees order."""
    every = [texts for texts in texts_of(document) if texts.corpus["networks"]]
    titles: dict[str, str] = {}
    for texts in every:
        for network in texts.corpus["networks"]:
            if network["order"] != "none":
                titles.setdefault(network["key"], network["title"])
    keys = sorted(titles, key=_row)
    columns = min(3, len(every))
    n_rows = -(-len(every) // columns)
    with styled():
        height = 0.8 + 0.19 * len(keys)
        figure, panels = new_figure(columns, n_rows, width=2.9, height=height, sharey=True, sharex=True)
        for axes, texts in zip(panels, every, strict=False):
            axes.axvspan(-MARGIN, MARGIN, color=MUTED, alpha=0.15, linewidth=0)
            axes.axvline(0, color=MUTED, linewidth=1)
            leads = leads_of(texts)
            for row, key in enumerate(keys):
                if key in leads:
                    _mark(axes, row, leads[key], key)
            axes.set_xscale("symlog", linthresh=LINEAR, linscale=0.6)
            axes.set(title=texts.title)
            axes.tick_params(axis="x", labelbottom=True)
        for axes in panels[len(every) :]:
            axes.set_visible(False)
        panels[0].set_yticks(range(len(keys)), [titles[key] for key in keys])
        panels[0].set_ylim(len(keys) - 0.4, -0.6)
        _label_points(panels[0])
        figure.supxlabel(label, fontsize=9)
    return figure


def _row(key: str) -> int:
    """Interference after modulation, other networks after both."""
    return next((i for i, operation in enumerate(OPERATIONS) if key.startswith(operation)), len(OPERATIONS))


def _mark(axes: Any, row: int, lead: Lead, key: str) -> None:
    style = SERIES[_row(key)]
    mark: Any = {"marker": style["marker"], "color": style["color"], "markersize": 4, "linestyle": "none"}
    if np.isfinite(lead.low):
        axes.plot([lead.low, lead.high], [row, row], color=style["color"], linewidth=1.2)
    axes.plot(lead.mean, row, zorder=3, **mark)


def _label_points(axes: Any) -> None:
    """Ticks at 1, 5 and 30 points on both sides of zero, as far as the marks reach."""
    low, high = axes.get_xlim()
    points = [0.0] + [sign * step for step in (1, 5, 30) for sign in (-1, 1)]
    shown = sorted(point for point in points if low <= point <= high)
    axes.set_xticks(shown, [f"{point:g}" for point in shown])
    axes.minorticks_off()
