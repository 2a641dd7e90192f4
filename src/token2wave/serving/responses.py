"""Encodes the responses of the service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from token2wave.inference.prediction import make_prediction, prediction_to_dict
from token2wave.serving.requests import PredictRequest, RequestError

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

Headers = tuple[tuple[bytes, bytes], ...]
JSON = b"application/json"
HTML = b"text/html; charset=utf-8"
PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"
UNICODE_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
ASCII_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


class Response(NamedTuple):
    """A response; ``n_texts`` is the number of texts it answers, for the log."""

    body: bytes
    media_type: bytes = JSON
    status: int = 200
    headers: Headers = ()
    n_texts: int = 0


def json_response(document: Any, **settings: Any) -> Response:
    """Encode JSON in UTF-8; in ASCII if it has lone surrogates, which UTF-8 cannot encode."""
    try:
        body = UNICODE_ENCODER.encode(document).encode("utf-8")
    except UnicodeEncodeError:
        body = ASCII_ENCODER.encode(document).encode("ascii")
    return Response(body, **settings)


def error_response(error: RequestError) -> Response:
    """Encode an error."""
    return json_response(error.to_dict(), status=error.status, headers=error.headers)


def predictions_response(
    request: PredictRequest,
    classifier: Classifier,
    probabilities: list[list[float]],
    novelty: list[float] | None = None,
) -> Response:
    """Encode the response to a ``/predict`` request.

    Args:
        request: the request.
        classifier: the classifier that computed the probabilities.
        probabilities: for each text, the probability of each class.
        novelty: of each text, if it was computed.
    """
    names = classifier.label_names
    thresholds = classifier.thresholds if request.threshold is None else (request.threshold,) * len(names)
    max_novelty = request.abstain_above_novelty
    documents = []
    for i, row in enumerate(probabilities):
        prediction = make_prediction(row, names, request.top_k, thresholds)
        abstains = prediction.probability < request.abstain_below
        if novelty is not None:
            prediction = prediction._replace(novelty=novelty[i])
            abstains = abstains or (max_novelty is not None and novelty[i] > max_novelty)
        documents.append(prediction_to_dict(prediction, classifier.multi_label, abstains))
    document = documents[0] if request.single else {"predictions": documents}
    return json_response(document, n_texts=len(documents))
