"""What a model says of one text, made of the probabilities of the classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class Prediction(NamedTuple):
    """What a model says of one text.

    Attributes:
        label: the most probable class. Where a text may have several classes, or none, that says nothing of
            whether it has this one: ``labels`` does.
        probability: its probability.
        top: the most probable classes with their probabilities, best first.
        labels: the classes that the text is given, the most probable first: ``label`` alone; or, where a text
            may have several, all whose probability reaches their threshold.
        probabilities: theirs, in the same order.
        novelty: share of the texts held back from training that are less unlike it; None where nobody asked,
            or the model does not know.
    """

    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    novelty: float | None = None


def prediction_of(
    probabilities: Sequence[float],
    label_names: Sequence[str],
    top_k: int = 1,
    thresholds: Sequence[float] = (),
) -> Prediction:
    """Name the most probable classes, given the probability of each; equal ones in the classes' order.

    Args:
        probabilities: ``C`` numbers.
        label_names: ``C`` names.
        top_k: how many classes to give in ``top``; all, if there are fewer.
        thresholds: ``C`` probabilities from which on a text is given a class, where it may have several.
    """
    if thresholds:
        order = _ranking(probabilities)
        given = [i for i in order if probabilities[i] >= thresholds[i]]
        top = tuple((label_names[i], probabilities[i]) for i in order[: max(top_k, 1)])
        labels = tuple(label_names[i] for i in given)
        return Prediction(*top[0], top, labels, tuple(probabilities[i] for i in given))
    if top_k <= 1:
        probability = max(probabilities)
        label = label_names[probabilities.index(probability)]
        return Prediction(label, probability, ((label, probability),), (label,), (probability,))
    top = tuple((label_names[i], probabilities[i]) for i in _ranking(probabilities)[:top_k])
    return Prediction(*top[0], top, (top[0][0],), (top[0][1],))


def prediction_to_dict(prediction: Prediction, several: bool, abstains: bool) -> dict[str, Any]:
    """Return a prediction as plain data, as commands and services give it.

    Args:
        prediction: of one text.
        several: whether a text may have several classes; then it has ``labels``, else ``label``.
        abstains: give no label.
    """
    given: dict[str, Any]
    if several:
        labels = [] if abstains else zip(prediction.labels, prediction.probabilities, strict=True)
        given = {"labels": _pairs(labels)}
    else:
        given = {"label": None if abstains else prediction.label, "probability": prediction.probability}
    return {**given, "novelty": prediction.novelty, "top": _pairs(prediction.top)}


def _pairs(classes: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"label": label, "probability": share} for label, share in classes]


def _ranking(probabilities: Sequence[float]) -> list[int]:
    """Indices of the classes, the most probable first."""
    return sorted(range(len(probabilities)), key=lambda i: -probabilities[i])
