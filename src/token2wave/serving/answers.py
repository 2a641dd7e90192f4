"""What a service answers, as bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from token2wave.inference.prediction import Prediction, make_prediction, prediction_to_dict
from token2wave.serving.requests import PredictRequest, RequestError

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

Headers = tuple[tuple[bytes, bytes], ...]
JSON = b"application/json"
HTML = b"text/html; charset=utf-8"
READABLE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
ESCAPED = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"


class Answer(NamedTuple):
    """A response.

    Attributes:
        body: its bytes.
        kind: its media type.
        status: of HTTP.
        headers: further ones.
        n_texts: how many texts it is about, for the log.
    """

    body: bytes
    kind: bytes = JSON
    status: int = 200
    headers: Headers = ()
    n_texts: int = 0


def json_answer(document: Any, **settings: Any) -> Answer:
    """Answer with JSON; lone surrogates, which UTF-8 does not have, are escaped."""
    try:
        body = READABLE.encode(document).encode("utf-8")
    except UnicodeEncodeError:
        body = ESCAPED.encode(document).encode("ascii")
    return Answer(body, **settings)


def error_answer(error: RequestError) -> Answer:
    """Answer with an error, and its cure."""
    return json_answer(error.to_dict(), status=error.status, headers=error.headers)


def check_fits(request: PredictRequest, classifier: Classifier) -> None:
    """Check what a request asks against what the model knows.

    Raises:
        RequestError: 422, it does not know that.
    """
    several = classifier.multi_label
    if request.threshold is not None and not several:
        raise RequestError(
            422,
            "expected no threshold, since with this model a text has one label",
            location="$.threshold",
            hint="leave it out, or use abstain_below",
        )
    if request.abstain_below and several:
        raise RequestError(
            422,
            "expected no abstain_below, since this model gives no label that does not reach its threshold",
            location="$.abstain_below",
            hint="leave it out, or use threshold",
        )
    if request.abstain_above_novelty is not None and classifier.novelty_reference is None:
        raise RequestError(
            422,
            "expected no abstain_above_novelty, since the model does not know which texts are novel",
            location="$.abstain_above_novelty",
            hint="leave it out, or train with texts held back for validation",
        )


def predictions_answer(
    request: PredictRequest,
    classifier: Classifier,
    rows: list[list[float]],
    novelty: list[float] | None,
) -> Answer:
    """Answer ``/predict``.

    Args:
        request: what was asked.
        classifier: that computed.
        rows: probabilities of each text.
        novelty: of each text, where it was computed.
    """
    several = classifier.multi_label
    names = classifier.label_names
    given = request.threshold
    thresholds = classifier.thresholds if given is None else (given,) * len(names)
    documents = []
    for i, row in enumerate(rows):
        found = make_prediction(row, names, request.top_k, thresholds)
        if novelty is not None:
            found = found._replace(novelty=novelty[i])
        documents.append(prediction_to_dict(found, several, _abstains(request, found)))
    answer = documents[0] if request.single else {"predictions": documents}
    return json_answer(answer, n_texts=len(rows))


def _abstains(request: PredictRequest, found: Prediction) -> bool:
    most = request.abstain_above_novelty
    return found.probability < request.abstain_below or (most is not None and (found.novelty or 0.0) > most)
