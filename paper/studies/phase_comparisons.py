"""The networks of the study of phase and magnitude, and the lead of whole ones over those without a part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from paper.statistics import Lead, compare, compare_sets, gains_of, stack_answers
from paper.studies.depth_comparisons import DROPOUT
from paper.study import Document
from paper.systems import System, wave_system

OPERATIONS = ("modulation", "interference")
READOUTS: dict[str, dict[str, Any]] = {
    "cls": {},
    "mean": {"readout": "mean"},
    "cls-positions": {"positions": "sinusoidal", "embedding_scale": 1.0},
    "mean-positions": {"readout": "mean", "positions": "sinusoidal", "embedding_scale": 1.0},
    "levels": {"variants": "levels"},
    "layers": {"layers": 2, "dropout": DROPOUT},
}
"""Settings of the networks, by what is read out."""
TITLES = {
    "cls": "[CLS]",
    "mean": "mean over tokens",
    "cls-positions": "[CLS], positions",
    "mean-positions": "mean over tokens, positions",
    "levels": "[CLS], sentence and text",
    "layers": "[CLS], two layers",
}
REDUNDANT = ("cls", "cls-positions", "levels")
"""Read-outs at which the phase is a function of the magnitude: in one layer ``w`` of [CLS] is the same in
every text, with its position as without it, and ``alpha = arccos(w / G)``."""
WIDE = 768  # the papers' width


@dataclass(frozen=True)
class Case:
    """A network of the study, without the part that is ``removed`` from its waves, if any."""

    data: str
    readout: str
    operation: str
    width: int
    removed: str | None = None

    @property
    def key(self) -> str:
        """Short name in files, e.g. ``mean-modulation-128-without-phase``."""
        ending = f"-without-{self.removed}" if self.removed else ""
        return f"{self.readout}-{self.operation}-{self.width}{ending}"

    @property
    def whole(self) -> Case:
        """The network from which nothing is removed."""
        return replace(self, removed=None)

    def system(self, epochs: int) -> System:
        """The papers' network of this shape, with the paper preset's recipe."""
        system = wave_system(self.operation, width=self.width, **READOUTS[self.readout])
        return replace(system, recipe=system.recipe.replace(epochs=epochs))


@dataclass(frozen=True)
class Comparison:
    """What a part of the waves brings: the lead of whole networks, on each data set and over all of them."""

    readout: str
    operation: str
    width: int
    removed: str
    of_sets: Mapping[str, Lead]
    over_sets: Lead


def compare_networks(document: Document) -> list[Comparison]:
    """Compare all networks with those from which a part is removed.

    The intervals of :attr:`Comparison.over_sets` hold for all read-outs, operations, widths and parts
    together; those of single sets for all comparisons of single sets.
    """
    runs = {case_of(network): network["runs"] for network in document["networks"]}
    removed = [case for case in runs if case.removed and case.whole in runs]
    groups: dict[Case, list[Case]] = {}
    for case in removed:
        groups.setdefault(replace(case, data=""), []).append(case)

    def answers(case: Case) -> Any:
        n_texts = document["rows"][case.data]["test"]
        return stack_answers(runs[case.whole], n_texts), stack_answers(runs[case], n_texts)

    return [
        Comparison(
            group.readout,
            group.operation,
            group.width,
            str(group.removed),
            {case.data: compare(*answers(case), n_comparisons=len(removed)) for case in cases},
            compare_sets([gains_of(*answers(case)) for case in cases], n_comparisons=len(groups)),
        )
        for group, cases in groups.items()
    ]


def case_of(network: Mapping[str, Any]) -> Case:
    """The network that an entry of the document describes."""
    names = ("data", "readout", "operation", "width", "removed")
    return Case(**{name: network[name] for name in names})
