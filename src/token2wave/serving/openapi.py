"""Describes the service as an OpenAPI 3.1 document and as an HTML page; tests compare it with the service."""

from __future__ import annotations

import json
from html import escape
from string import Template
from typing import TYPE_CHECKING

from token2wave.reporting.page_assets import page_resource
from token2wave.serving.limits import ServiceLimits
from token2wave.serving.requests import (
    EXPLAIN_OPTIONS,
    PREDICT_OPTIONS,
    PROBABILITY,
    Schema,
    unsupported_options,
)
from token2wave.versions import __version__

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

ERRORS = {
    400: "The body is not JSON in UTF-8 or repeats a name, or the request is not HTTP or names no Host.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The Content-Type is not JSON.",
    421: "The Host header names another service.",
    422: "The body is not a valid request, or exceeds a limit.",
    503: "Too much work is waiting. Retry-After says when to try again.",
}
JSON = "application/json"
STRING: Schema = {"type": "string"}
STRINGS: Schema = {"type": "array", "items": STRING}
INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
NUMBERS: Schema = {"type": "array", "items": {"type": ["number", "null"]}}


def openapi_document(limits: ServiceLimits, classifier: Classifier) -> Schema:
    """Describe the service of a model. Options that the model does not support are left out."""
    prediction = {"oneOf": [_reference("Prediction"), _reference("Predictions")]}
    explanation, health = _reference("Explanation"), _reference("Health")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "token2wave",
            "version": __version__,
            "description": "Classifies texts and explains its predictions.",
        },
        "paths": {
            "/predict": {"post": _post("Classify a text or a list of texts.", "PredictRequest", prediction)},
            "/explain": {
                "post": _post("Compute the exact effect of each word.", "ExplainRequest", explanation)
            },
            "/health": {
                "get": _get("Whether the service is alive and ready.", health, statuses=("200", "503"))
            },
            "/info": {"get": _get("Description of the model.", _reference("Info"))},
            "/metrics": {"get": _get("Metrics in the text format of Prometheus.", STRING, "text/plain")},
            "/openapi.json": {"get": _get("This description.", _reference("OpenAPI"))},
            "/docs": {"get": _get("This description as a page.", STRING, "text/html")},
            "/": {"get": _get("A page to try the model.", STRING, "text/html")},
        },
        "components": {"schemas": _schemas(limits, classifier)},
    }


def docs_page(document: Schema) -> str:
    """Render an OpenAPI document as an HTML page, which loads nothing."""
    lines = [f"<p>{escape(document['info']['description'])}</p>", '<p><a href="openapi.json">OpenAPI</a></p>']
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            lines.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2>")
            lines.append(f"<p>{escape(operation['summary'])}</p>")
            if body := operation.get("requestBody"):
                lines.append(f"<h3>Body</h3>{_pre(body['content'][JSON]['schema'])}")
            for status, response in operation["responses"].items():
                media_types = ", ".join(response["content"])
                description = escape(response["description"])
                lines.append(f"<p><strong>{status}</strong> {description} ({media_types})</p>")
    lines.append("<h2>Schemas</h2>")
    for name, schema in document["components"]["schemas"].items():
        lines.append(f'<h3 id="{name}">{name}</h3>{_pre(schema)}')
    return Template(page_resource("docs.html")).substitute(content="\n".join(lines))


def _schemas(limits: ServiceLimits, classifier: Classifier) -> dict[str, Schema]:
    text: Schema = {"type": "string", "maxLength": limits.text_characters}
    explained: Schema = {
        "type": "string",
        "maxLength": min(limits.explain_characters, limits.text_characters),
    }
    if classifier.is_pairs:
        text, explained = _two(text), _two(explained)
    texts = {"type": "array", "maxItems": limits.texts, "items": text}
    unsupported = unsupported_options(classifier)
    options = {name: option.schema for name, option in PREDICT_OPTIONS.items() if name not in unsupported}
    explain_options = {name: option.schema for name, option in EXPLAIN_OPTIONS.items()}
    classes = {
        "type": "array",
        "items": _object({"label": STRING, "probability": PROBABILITY}),
        "description": "The most probable classes, best first.",
    }
    novelty = {
        "type": ["number", "null"],
        "description": "Fraction of validation texts that are less unusual; null if unknown.",
    }
    known = {
        **BOOLEAN,
        "description": "False if the model knows nothing of the text: the prediction rests on nothing.",
    }
    label = {"type": ["string", "null"], "description": "The most probable class; null if abstaining."}
    labels: dict[str, Schema]
    labels = {"labels": classes} if classifier.multi_label else {"label": label, "probability": PROBABILITY}
    if classifier.scale is not None:
        bounds = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
        labels |= {
            "score": {"type": ["number", "null"], "description": "The expected score; null if abstaining."},
            "interval": {
                "oneOf": [bounds, {"type": "null"}],
                "description": "Bounds of the true score of four in five such texts.",
            },
        }
    info: dict[str, Schema] = {
        **{name: {"type": "object"} for name in ("features", "network", "training")},
        "version": {**STRING, "description": "Version of token2wave that serves."},
        "labels": STRINGS,
        "parameters": INTEGER,
        "computes_with": {"enum": ["native core", "numpy", "torch"]},
    }
    effect: dict[str, Schema] = {
        "text": STRING,
        "start": {**INTEGER, "description": "Where it begins, in code points."},
        "end": INTEGER,
        "energy": {"type": ["number", "null"]},
        "effects": {**NUMBERS, "description": "Its effect on the probability of each class."},
        "logit_effects": NUMBERS,
        "known": BOOLEAN,
        **(
            {"shared": {**BOOLEAN, "description": "Whether both texts have it."}}
            if classifier.is_pairs
            else {}
        ),
    }
    error: dict[str, Schema] = {
        "status": INTEGER,
        "problem": {**STRING, "description": "What was expected and what was found."},
        "location": {"type": ["string", "null"]},
        "hint": {"type": ["string", "null"], "description": "What to change."},
    }
    return {
        "PredictRequest": {"oneOf": [_object({"text": text}, options), _object({"texts": texts}, options)]},
        "ExplainRequest": _object({"text": explained}, explain_options),
        "Prediction": _object({**labels, "novelty": novelty, "known": known, "top": classes}),
        "Predictions": _object({"predictions": {"type": "array", "items": _reference("Prediction")}}),
        "Explanation": _object(
            {
                **dict.fromkeys(("text", "unit", "label"), STRING),
                "label_names": STRINGS,
                "probabilities": NUMBERS,
                "logits": NUMBERS,
                "parts": {"type": "array", "items": _object(effect)},
                "complete": {**BOOLEAN, "description": "False if time ran out before the end of the text."},
                "known": known,
            }
        ),
        "Health": _object({"live": BOOLEAN, "ready": BOOLEAN}),
        "Info": {**_object(info), "additionalProperties": True},
        "OpenAPI": {"type": "object", "required": ["openapi", "info", "paths"]},
        "Error": _object({"error": _object(error)}),
    }


def _two(text: Schema) -> Schema:
    """Schema of a pair of texts."""
    return {"type": "array", "items": text, "minItems": 2, "maxItems": 2}


def _object(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """Schema of an object that has no other fields."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
        "additionalProperties": False,
    }


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _response(description: str, schema: Schema, media_type: str = JSON) -> Schema:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _post(summary: str, request: str, schema: Schema) -> Schema:
    content = {JSON: {"schema": _reference(request)}}
    errors = {str(status): _response(reason, _reference("Error")) for status, reason in ERRORS.items()}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": content},
        "responses": {"200": _response("The answer.", schema), **errors},
    }


def _get(
    summary: str, schema: Schema, media_type: str = JSON, statuses: tuple[str, ...] = ("200",)
) -> Schema:
    response = _response("The answer.", schema, media_type)
    return {"summary": summary, "responses": dict.fromkeys(statuses, response)}


def _pre(schema: Schema) -> str:
    return f"<pre>{escape(json.dumps(schema, indent=1))}</pre>"
