"""The description of the service for programs, OpenAPI 3.1; tests hold the service against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from token2wave.explanation.effects import UNITS
from token2wave.serving.limits import Limits
from token2wave.versions import __version__

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

Schema = dict[str, Any]
REFUSALS = {
    400: "The body is no JSON in UTF-8, or has a name twice, or the request is no HTTP.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    415: "The body is not said to be JSON.",
    422: "The body asks for something that there is not, or for too much.",
    503: "Too much is waiting; Retry-After says when to try again.",
}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
STRING: Schema = {"type": "string"}


def openapi_document(limits: Limits, classifier: Classifier) -> Schema:
    """Describe the service of a model: what it cannot be asked is not there."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "token2wave",
            "version": __version__,
            "description": "A text classifier: its predictions, and what in a text they come from.",
        },
        "paths": {
            "/predict": {"post": _asking("Classify a text or a list of texts.", "PredictRequest", _answer())},
            "/explain": {
                "post": _asking(
                    "Say what each part of a text does to its prediction; exact, not sampled.",
                    "ExplainRequest",
                    _reference("Explanation"),
                )
            },
            "/health": {"get": _getting("Say whether the service lives, and is ready.", "Health")},
            "/info": {"get": _getting("Describe the model.", "Info")},
            "/metrics": {"get": _getting_text("Count, in the text format of Prometheus.", "text/plain")},
            "/openapi.json": {"get": _getting("This description.", "OpenAPI")},
            "/docs": {"get": _getting_text("This description for people.", "text/html")},
            "/": {"get": _getting_text("A page to try the classifier.", "text/html")},
        },
        "components": {"schemas": _schemas(limits, classifier)},
    }


def _schemas(limits: Limits, classifier: Classifier) -> dict[str, Schema]:
    text = {"type": "string", "maxLength": limits.text_characters}
    explained = {"type": "string", "maxLength": min(limits.explain_characters, limits.text_characters)}
    options: dict[str, Schema] = {
        "top_k": {
            "type": "integer",
            "minimum": 1,
            "default": 1,
            "description": "How many classes 'top' has.",
        },
        "novelty": {
            "type": "boolean",
            "default": False,
            "description": "Say how unlike the training texts a text is, too.",
        },
    }
    if classifier.multi_label:
        meaning = "Probability from which on a text is given a label, instead of the model's own."
        options["threshold"] = {**SHARE, "description": meaning}
    else:
        meaning = "Give no label where its probability is lower."
        options["abstain_below"] = {**SHARE, "description": meaning}
    if classifier.novelty_reference is not None:
        options["abstain_above_novelty"] = {**SHARE, "description": "Give no label to a text more novel."}
    share_of_label = _object({"label": STRING, "probability": SHARE})
    ranked = {
        "type": "array",
        "items": share_of_label,
        "description": "The most probable classes, best first.",
    }
    novelty = {
        "type": ["number", "null"],
        "description": "Share of texts held back from training that are less unlike it, if asked and known.",
    }
    label = {"type": ["string", "null"], "description": "The most probable class; null where it abstains."}
    given = {"labels": ranked} if classifier.multi_label else {"label": label, "probability": SHARE}
    figures = {"type": "array", "items": {"type": ["number", "null"]}}
    return {
        "PredictRequest": {
            "oneOf": [
                _object({"text": text}, options),
                _object(
                    {"texts": {"type": "array", "maxItems": limits.texts, "items": text}},
                    options,
                ),
            ]
        },
        "ExplainRequest": _object(
            {"text": explained},
            {"unit": {"type": "string", "enum": list(UNITS), "default": "word"}},
        ),
        "Prediction": _object({**given, "novelty": novelty, "top": ranked}),
        "Predictions": _object({"predictions": {"type": "array", "items": _reference("Prediction")}}),
        "Explanation": _object(
            {
                "text": STRING,
                "unit": STRING,
                "label": STRING,
                "label_names": {"type": "array", "items": STRING},
                "probabilities": figures,
                "logits": figures,
                "parts": {"type": "array", "items": _reference("Part")},
            }
        ),
        "Part": _object(
            {
                "text": STRING,
                "start": {"type": "integer", "description": "Where it begins, in code points."},
                "end": {"type": "integer"},
                "energy": {"type": ["number", "null"]},
                "effects": {**figures, "description": "What it does to the probability of each class."},
                "logit_effects": figures,
                "known": {"type": "boolean"},
            }
        ),
        "Health": _object({"live": {"type": "boolean"}, "ready": {"type": "boolean"}}),
        "Info": {
            "type": "object",
            "required": [
                "version",
                "labels",
                "parameters",
                "features",
                "network",
                "training",
                "computes_with",
            ],
            "properties": {
                "version": {**STRING, "description": "Of token2wave, which serves."},
                "labels": {"type": "array", "items": STRING},
                "thresholds": {"type": "array", "items": SHARE},
                "parameters": {"type": "integer"},
                "parameters_without_embedding": {"type": "integer"},
                "features": {"type": "object"},
                "network": {"type": "object"},
                "training": {"type": "object", "description": "The record of the training."},
                "versions": {"type": "object", "description": "Versions that trained the model."},
                "computes_with": {"enum": ["native core", "numpy", "torch"]},
            },
        },
        "OpenAPI": {"type": "object", "required": ["openapi", "info", "paths"]},
        "Error": _object(
            {
                "error": _object(
                    {
                        "status": {"type": "integer"},
                        "problem": {**STRING, "description": "What was expected, and what came."},
                        "location": {"type": ["string", "null"]},
                        "hint": {"type": ["string", "null"], "description": "What to change."},
                    }
                )
            }
        ),
    }


def _answer() -> Schema:
    return {"oneOf": [_reference("Prediction"), _reference("Predictions")]}


def _object(needed: dict[str, Schema], free: dict[str, Schema] | None = None) -> Schema:
    """An object with fields that have to be there, fields that may, and no other."""
    return {
        "type": "object",
        "required": list(needed),
        "properties": {**needed, **(free or {})},
        "additionalProperties": False,
    }


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _asking(summary: str, request: str, answer: Schema) -> Schema:
    error = _content(_reference("Error"))
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": _content(_reference(request))},
        "responses": {
            "200": {"description": "The answer.", "content": _content(answer)},
            **{str(status): {"description": why, "content": error} for status, why in REFUSALS.items()},
        },
    }


def _getting(summary: str, name: str) -> Schema:
    answer = {"description": "The answer.", "content": _content(_reference(name))}
    unready = {"503": {**answer, "description": "Not ready."}} if name == "Health" else {}
    return {"summary": summary, "responses": {"200": answer, **unready}}


def _getting_text(summary: str, kind: str) -> Schema:
    answer = {"description": "The answer.", "content": {kind: {"schema": STRING}}}
    return {"summary": summary, "responses": {"200": answer}}
