"""Predictions as bodies of answers, and the options of a request that decide them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from token2wave.features.pairs import join_pair
from token2wave.inference.prediction import prediction_to_dict, should_abstain
from token2wave.serving.bodies import RequestError, decode

if TYPE_CHECKING:
    from token2wave.serving.batching import BatchResult
    from token2wave.serving.model_store import ServedModel


def needs_novelty(asked: Any) -> bool:
    """Whether a request needs the novelty of its texts."""
    return bool(asked.novelty) or option(asked, "abstain_above_novelty") is not None


def option(asked: Any, name: str) -> Any:
    """An option of a request; None if it is not set, or the model does not have it."""
    value = getattr(asked, name, msgspec.UNSET)
    return None if value is msgspec.UNSET else value


def novelty_of(model: ServedModel, asked: Any, texts: list[str]) -> list[float] | None:
    """Novelty of texts, if a request needs it and the model can measure it."""
    novelty = model.classifier.novelty(texts) if needs_novelty(asked) else None
    return None if novelty is None else novelty.tolist()


def predictions_of(
    model: ServedModel, asked: Any, result: BatchResult, novelty: list[float] | None = None
) -> list[dict[str, Any]]:
    """Predictions as plain data, one a text.

    Args:
        model: has computed the result.
        asked: options of the request.
        result: for each text, the probability of each class.
        novelty: of each text, if it was computed.
    """
    classifier, threshold = model.classifier, option(asked, "threshold")
    documents = []
    for i, prediction in enumerate(classifier.predictions(*result, int(asked.top_k), threshold)):
        if novelty is not None:
            prediction = prediction._replace(novelty=novelty[i])
        below, above = option(asked, "abstain_below") or 0.0, option(asked, "abstain_above_novelty")
        has_no_label = should_abstain(prediction, below, above)
        documents.append(prediction_to_dict(prediction, classifier.multi_label, has_no_label))
    return documents


def encode_predictions(
    model: ServedModel, asked: Any, single: bool, result: BatchResult, novelty: list[float] | None = None
) -> bytes:
    """Encode the answer to a request to predict; see :func:`predictions_of`."""
    documents = predictions_of(model, asked, result, novelty)
    document = documents[0] if single else {"predictions": documents}
    return msgspec.json.encode({**document, **model.tag})


def decode_line(line: bytes, model: ServedModel) -> str | RequestError:
    """The text of a line of NDJSON, or why there is none."""
    try:
        text = decode(line, model.bodies.line, "--text-characters", model.classifier).text
    except RequestError as error:
        return error
    return join_pair(*text) if model.classifier.is_pairs else text
