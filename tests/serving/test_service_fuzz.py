"""Random bodies: every response has the schema that the OpenAPI document promises."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from service_helpers import TEXTS, ask_in_process, make_classifier

from token2wave.serving.app import create_app
from token2wave.serving.limits import ServiceLimits
from token2wave.serving.openapi import openapi_document

CLASSIFIER = make_classifier()
LIMITS = ServiceLimits(texts=4, text_characters=60)
APP = create_app(CLASSIFIER, LIMITS)
DOCUMENT = openapi_document(APP.state.service.models)
VALIDATORS = {
    name: Draft202012Validator({**DOCUMENT, "$ref": f"#/components/schemas/{name}"})
    for name in ("Error", "Prediction", "Predictions", "TextRequest", "TextsRequest")
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
TEXT = st.one_of(st.sampled_from(TEXTS), st.text(max_size=70))
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "text": TEXT | VALUES,
        "texts": st.lists(TEXT, max_size=6) | VALUES,
        "top_k": st.integers(-1, 9) | VALUES,
        "novelty": st.booleans() | VALUES,
        "abstain_below": st.floats(-0.1, 1.1) | VALUES,
        "abstain_above_novelty": st.floats(-0.1, 1.1) | VALUES,
        "other": st.nothing() | VALUES,
    },
)


@settings(max_examples=150, deadline=None, print_blob=True)
@given(REQUESTS)
def test_requests(request):
    """The service accepts exactly the requests that are valid in the OpenAPI document."""
    status, answer, _ = ask_in_process(APP, request)
    is_valid = any(VALIDATORS[name].is_valid(request) for name in ("TextRequest", "TextsRequest"))
    assert (status == 200) == is_valid, answer
    name = "Error" if status != 200 else "Predictions" if "texts" in request else "Prediction"
    VALIDATORS[name].validate(answer)
    if status == 200:
        texts = request["texts"] if "texts" in request else [request["text"]]
        predictions = answer["predictions"] if "texts" in request else [answer]
        assert len(predictions) == len(texts)
        for text, prediction in zip(texts, predictions, strict=True):
            assert prediction["probability"] == CLASSIFIER.predict(text).probability
            assert len(prediction["top"]) == min(request.get("top_k", 1), 3)


@settings(max_examples=150, deadline=None, print_blob=True)
@given(st.binary(max_size=80) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes(body):
    status, answer, _ = ask_in_process(APP, body)
    assert status in (200, 400, 422)
    if status != 200:
        VALIDATORS["Error"].validate(answer)
        assert answer["error"]["hint"]


@settings(max_examples=100, deadline=None, print_blob=True)
@given(st.data())
def test_damaged_requests(data):
    """A valid request with some bytes replaced or removed."""
    body = bytearray(json.dumps({"texts": ["a game", "é \u2028"], "top_k": 2, "abstain_below": 0.5}).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    status, answer, _ = ask_in_process(APP, bytes(body))
    VALIDATORS["Predictions" if status == 200 else "Error"].validate(answer)
