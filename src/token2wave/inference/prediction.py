"""The prediction for one text, made from the probabilities of the classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, NamedTuple

from token2wave.config import require


class Prediction(NamedTuple):
    """The prediction for one text.

    Attributes:
        label: the most probable class. A multi-label model need not assign it: see ``labels``.
        probability: its probability.
        top: the most probable classes with their probabilities, best first.
        labels: the assigned classes, most probable first: ``label`` alone, or for a multi-label model all
            classes whose probability reaches their threshold.
        probabilities: their probabilities, in the same order.
        novelty: fraction of validation texts that are less unlike the training texts; None if not requested,
            or unknown to the model.
        known: whether the model has any word, word n-gram or character n-gram of the text; else the
            prediction rests on nothing, like that of an empty text.
        score: the expected score, in a model of scores; else None. Then ``label`` is the median grade, or
            range of scores, not the most probable one.
        interval: lower and upper bound of the true score of four in five such texts; None without a score, or
            without validation texts.
    """

    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    novelty: float | None = None
    known: bool = True
    score: float | None = None
    interval: tuple[float, float] | None = None


def make_prediction(
    probabilities: Sequence[float],
    label_names: Sequence[str],
    top_k: int = 1,
    thresholds: Sequence[float] = (),
    known: bool = True,
) -> Prediction:
    """Make a prediction from the probabilities; equally probable classes keep their order.

    Args:
        probabilities: ``C`` numbers.
        label_names: ``C`` names.
        top_k: number of classes in ``top``; all, if there are fewer.
        thresholds: for a multi-label model, the ``C`` probabilities from which a text gets a class.
        known: whether the model knows anything of the text.

    Raises:
        ConfigError: ``top_k`` is not positive.
    """
    if type(top_k) is not int or top_k < 1:
        require(isinstance(top_k, Integral) and top_k >= 1, "top_k", "at least one class", top_k)
    if top_k == 1 and not thresholds:  # without sorting
        order = assigned = [probabilities.index(max(probabilities))]
    else:
        order = sorted(range(len(probabilities)), key=lambda i: -probabilities[i])
        assigned = [i for i in order if probabilities[i] >= thresholds[i]] if thresholds else order[:1]
    top = tuple((label_names[i], probabilities[i]) for i in order[:top_k])
    labels = tuple(label_names[i] for i in assigned)
    return Prediction(*top[0], top, labels, tuple(probabilities[i] for i in assigned), known=known)


def prediction_to_dict(prediction: Prediction, several: bool, abstains: bool) -> dict[str, Any]:
    """Turn a prediction into plain data, with ``labels`` if it may be several; abstaining omits the label."""
    decision: dict[str, Any] = {"label": None if abstains else prediction.label}
    decision["probability"] = prediction.probability
    if several:
        labels = [] if abstains else zip(prediction.labels, prediction.probabilities, strict=True)
        decision = {"labels": _pairs(labels)}
    decision |= {"novelty": prediction.novelty, "known": prediction.known}
    if prediction.score is not None:
        decision |= {"score": None if abstains else prediction.score}
        decision["interval"] = prediction.interval and list(prediction.interval)
    return {**decision, "top": _pairs(prediction.top)}


def should_abstain(prediction: Prediction, below: float, above_novelty: float | None) -> bool:
    """Whether a text gets no label.

    Args:
        prediction: of the text.
        below: the least probability of a label; 0 for no limit.
        above_novelty: the largest novelty; None for no limit. With either limit, a text of which nothing is
            known gets no label.
    """
    is_novel = above_novelty is not None and (prediction.novelty or 0) > above_novelty
    has_limit = below > 0 or above_novelty is not None
    return is_novel or prediction.probability < below or (has_limit and not prediction.known)


def _pairs(classes: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"label": label, "probability": probability} for label, probability in classes]
