"""The planned comparisons of batches and lengths, and their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import log
from typing import Any, NamedTuple

from paper.statistics import Lead, Saving, compare, compare_costs, stack_answers
from paper.studies.batch_settings import REFERENCE_BATCH, RULES, SYSTEMS
from paper.study import Document
from paper.training_curves import cost_until
from paper.verdicts import (
    MARGIN,
    RATIO,
    Interval,
    judge_all,
    judge_all_without_loss,
    judge_lead,
    judge_no_loss,
)

WAVES = tuple(system for system in SYSTEMS if system.startswith("wave"))
Network = Mapping[str, Any]
Judge = Callable[[Interval, float], str]


class Question(NamedTuple):
    """A question, its answers for each system of waves, and the rule of the verdict.

    ``text`` has no name of a system; ``pairs`` are the first and the second network by system.
    """

    text: str
    pairs: Mapping[str, tuple[Network, Network]]
    unit: str
    judge: Judge
    differences: Mapping[str, Lead | Saving]
    rule: str

    @property
    def margin(self) -> float:
        """Difference that counts as none."""
        return MARGIN if self.unit == "accuracy" else log(RATIO)

    @property
    def verdicts(self) -> dict[str, str]:
        """Verdict of each system."""
        return {system: self.judge(each, self.margin) for system, each in self.differences.items()}

    @property
    def verdict(self) -> str:
        """Verdict of all systems together."""
        joined = judge_all_without_loss if self.judge is judge_no_loss else judge_all
        return joined(self.verdicts.values())


def networks_of(measured: Mapping[str, Any], **settings: Any) -> list[Network]:
    """Networks of a part of the document with these settings."""
    return [
        network
        for network in measured["networks"]
        if all(network[name] == value for name, value in settings.items())
    ]


def judged_questions(document: Document, part: str) -> list[Question]:
    """Questions of ``batch`` or ``length`` whose networks are there; intervals hold together."""
    measured = document.get(part)
    if not measured:
        return []
    planned = _about_batches(measured) if part == "batch" else _about_lengths(measured)
    planned = [question for question in planned if question.pairs]
    n_comparisons = sum(len(question.pairs) for question in planned)
    n_texts, accuracy = measured["rows"]["test"], measured["accuracies"][0]
    judged = []
    for question in planned:
        differences: dict[str, Lead | Saving] = {}
        for system, (first, second) in question.pairs.items():
            runs = first["runs"], second["runs"]
            if question.unit == "accuracy":
                answers = (stack_answers(each, n_texts) for each in runs)
                differences[system] = compare(*answers, n_comparisons=n_comparisons)
            else:
                costs = ([cost_until(run, accuracy, question.unit) for run in each] for each in runs)
                differences[system] = compare_costs(*costs, n_comparisons=n_comparisons)
        judged.append(question._replace(differences=differences))
    return judged


def _about_batches(measured: Mapping[str, Any]) -> list[Question]:
    large, small = measured["compared"]
    reach = f"{100 * measured['accuracies'][0]:g} %"
    questions = []
    pairs = {
        rule: _pairs(measured, {"batch": large, "rule": rule}, {"batch": small, "rule": "constant"})
        for rule in RULES
    }
    questions.append(
        _fewer(
            f"A batch of {large:,} saves more than a fifth of the steps of one of {small} to {reach}, "
            "constant rate",
            pairs["constant"],
            "steps",
        )
    )
    for rule in RULES:
        text = f"A batch of {large:,} takes at most a quarter more tokens than one of {small} to {reach}, "
        text += f"{rule} rate"
        questions.append(_no_more(text, pairs[rule], "tokens"))
    for rule in RULES:
        text = f"A batch of {large:,} loses no accuracy to one of {small} after as many texts, {rule} rate"
        questions.append(
            Question(
                text,
                pairs[rule],
                "accuracy",
                judge_no_loss,
                {},
                f"the interval of the test accuracy lies above -{MARGIN} points; no difference if it lies "
                f"within {MARGIN} on both sides",
            )
        )
    for batch, rule in ((small, "constant"), (large, "constant"), (large, "square root")):
        text = f"Wave saves more than a fifth of the tokens of a Transformer from the same start to {reach}, "
        text += f"batch {batch:,}, {rule} rate"
        questions.append(_fewer_than_rival(text, _rivals(measured, batch=batch, rule=rule), "tokens"))
    return questions


def _about_lengths(measured: Mapping[str, Any]) -> list[Question]:
    long, short = measured["compared"]
    reach = f"{100 * measured['accuracies'][0]:g} %"
    pairs = _pairs(measured, {"length": long}, {"length": short})
    text = (
        f"Texts of up to {long} tokens save more than a fifth of the steps of {REFERENCE_BATCH} of up to "
        f"{short} to {reach}"
    )
    return [
        Question(
            f"Texts of up to {long} tokens give a better accuracy than of up to {short}",
            pairs,
            "accuracy",
            judge_lead,
            {},
            f"the interval of the test accuracy lies above {MARGIN} points; no difference if it lies within "
            f"{MARGIN} on both sides",
        ),
        _fewer(text, pairs, "steps"),
        _fewer_than_rival(
            f"Wave saves more than a fifth of the steps of a Transformer from the same start to {reach}, "
            f"up to {long} tokens",
            _rivals(measured, length=long),
            "steps",
        ),
    ]


SAVING_RULE = (
    f"less than 1 / {RATIO:g} of the cost; no difference if within {RATIO:g} times on both sides; does not "
    f"hold if more than 1 / {RATIO:g} in one of the systems"
)
_fewer = partial(Question, judge=judge_lead, differences={}, rule=SAVING_RULE)
_fewer_than_rival = partial(
    _fewer,
    rule=f"{SAVING_RULE}. The Transformer's batches hold texts of similar length, those of Wave any",
)
_no_more = partial(
    Question,
    judge=judge_no_loss,
    differences={},
    rule=f"less than {RATIO:g} times the cost; no difference if within {RATIO:g} times on both sides",
)


def _pairs(
    measured: Mapping[str, Any], first: Mapping[str, Any], second: Mapping[str, Any]
) -> dict[str, tuple[Network, Network]]:
    """The network of each system of waves with the first settings, and with the second."""
    found = {
        system: (
            networks_of(measured, system=system, **first),
            networks_of(measured, system=system, **second),
        )
        for system in WAVES
    }
    return {system: (one[0], other[0]) for system, (one, other) in found.items() if one and other}


def _rivals(measured: Mapping[str, Any], **settings: Any) -> dict[str, tuple[Network, Network]]:
    """Each system of waves beside the Transformer with the same settings."""
    transformers = networks_of(measured, system="transformer", **settings)
    return {
        system: (network, transformers[0])
        for system in WAVES
        for network in networks_of(measured, system=system, **settings)
        if transformers
    }
