"""Describes the service as an OpenAPI 3.1 document and as an HTML page, from the types of its bodies."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from string import Template
from typing import TYPE_CHECKING, Any

import msgspec

from token2wave.reporting.page_assets import page_resource
from token2wave.serving.bodies import Error, Health, Info, ModelList
from token2wave.serving.responses import JSON, NDJSON
from token2wave.versions import __version__

if TYPE_CHECKING:
    from token2wave.serving.model_store import ServedModel

Schema = dict[str, Any]
REFERENCE = "#/components/schemas/{name}"
ERRORS = {
    400: "The body is not JSON in UTF-8, or the request is not HTTP or names no Host.",
    401: "The token of the service is missing.",
    404: "There is no such model.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The Content-Type is not JSON.",
    421: "The Host header names another service.",
    422: "The body is not a valid request, or exceeds a limit.",
    503: "Too much work is waiting. Retry-After says when to try again.",
}
TEXT: Schema = {"type": "string"}


def openapi_document(models: Iterable[ServedModel], root_path: str = "") -> Schema:
    """Describe the service of some models, the default first."""
    models = list(models)
    paths: Schema = {}
    for i, model in enumerate(models):
        for prefix in ("", f"/models/{model.name}") if i == 0 else (f"/models/{model.name}",):
            paths |= _paths_of_model(model, prefix)
    get, tag = _operation, "Service"
    paths |= {
        "/models": {"get": get("list_models", tag, "List the models.", _reference(ModelList))},
        "/live": {"get": get("live", tag, "Tell that the process answers.", _reference(Health))},
        "/ready": {"get": get("ready", tag, "Tell whether requests are taken.", _reference(Health))},
        "/metrics": {
            "get": get("metrics", tag, "Metrics in the text format of Prometheus.", TEXT, "text/plain")
        },
        "/openapi.json": {"get": get("openapi", tag, "This description.", {"type": "object"})},
        "/docs": {"get": get("docs", tag, "This description as a page.", TEXT, "text/html")},
    }
    ready = paths["/ready"]["get"]["responses"]
    ready["503"] = {**ready["200"], "description": "The service is shutting down."}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "token2wave",
            "version": __version__,
            "description": "Classifies texts and explains its predictions.",
        },
        "servers": [{"url": root_path or "/"}],
        "tags": [{"name": model.name} for model in models] + [{"name": tag}],
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(models),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def docs_page(document: Schema) -> str:
    """Render an OpenAPI document as an HTML page, which loads nothing."""
    lines = [f"<p>{escape(document['info']['description'])}</p>", '<p><a href="openapi.json">OpenAPI</a></p>']
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            lines.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2>")
            lines.append(f"<p>{escape(operation['summary'])}</p>")
            for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
                lines.append(f"<h3>Body ({media_type})</h3>{_pre(body['schema'])}{_pre(body['example'])}")
            for status, response in operation["responses"].items():
                description = escape(response["description"])
                lines.append(
                    f"<p><strong>{status}</strong> {description} ({', '.join(response['content'])})</p>"
                )
    lines.append("<h2>Schemas</h2>")
    for name, schema in document["components"]["schemas"].items():
        lines.append(f'<h3 id="{escape(name)}">{escape(name)}</h3>{_pre(schema)}')
    return Template(page_resource("docs.html")).substitute(content="\n".join(lines))


def _paths_of_model(model: ServedModel, prefix: str) -> Schema:
    """Routes of a model; an operation's id has the model's name where the route has."""
    bodies, of_model = model.bodies, f"_{model.name}" if prefix else ""
    is_pairs = model.classifier.is_pairs
    text: Any = ["A first text.", "A second text."] if is_pairs else "A text to classify."

    def post(name: str, summary: str, body: Any, answer: Any, example: Schema) -> Schema:
        operation = _operation(f"{name}{of_model}", model.name, summary, _reference(answer))
        errors = {str(status): _response(reason, _reference(Error)) for status, reason in ERRORS.items()}
        operation["responses"] |= errors
        content = {JSON: {"schema": _reference(body), "example": example}}
        return {**operation, "requestBody": {"required": True, "content": content}}

    summary = "Classify a text or a list of texts."
    predict = post("predict", summary, bodies.requests, bodies.answers, {"text": text, "top_k": 2})
    summary = "Classify a text a line (NDJSON). Lines are answered while others are sent."
    lines = post("predict_lines", summary, bodies.line, bodies.prediction, {"text": text})
    lines["requestBody"]["content"] = {NDJSON: _lines(bodies.line, example=f"{json.dumps({'text': text})}\n")}
    lines["responses"]["200"]["content"] = {NDJSON: _lines(bodies.prediction, Error)}
    options = _schema_of(bodies.options)["properties"]
    lines["parameters"] = [
        {"name": name, "in": "query", "schema": schema} for name, schema in options.items()
    ]
    summary = "Compute the exact effect of each word."
    explain = post("explain", summary, bodies.explain, bodies.explanation, {"text": text})
    info = _operation(f"info{of_model}", model.name, "Describe the model.", _reference(Info))
    page = _operation(f"page{of_model}", model.name, "A page to try the model.", TEXT, "text/html")
    return {
        f"{prefix}/predict": {"post": predict},
        f"{prefix}/predict/lines": {"post": lines},
        f"{prefix}/explain": {"post": explain},
        f"{prefix}/info": {"get": info},
        f"{prefix}/": {"get": page},
    }


def _lines(*body_types: Any, **more: Any) -> Schema:
    """A stream of lines; OpenAPI 3.1 has no schema for its items."""
    names = " or ".join(body_type.__name__ for body_type in body_types)
    return {"schema": {"type": "string", "description": f"A line each: {names}."}, **more}


def _schemas(models: list[ServedModel]) -> Schema:
    types: list[Any] = [Error, Health, Info, ModelList]
    for model in models:
        bodies = model.bodies
        types += [
            *bodies.requests,
            bodies.line,
            bodies.explain,
            bodies.prediction,
            *bodies.answers,
            bodies.explanation,
        ]
    _, schemas = msgspec.json.schema_components(types, ref_template=REFERENCE)
    for model in models:
        for body_type in model.bodies.requests:
            schemas[body_type.__name__]["properties"]["top_k"]["type"] = "integer"
    return schemas


def _schema_of(body_type: type[msgspec.Struct]) -> Schema:
    _, schemas = msgspec.json.schema_components([body_type])
    schema: Schema = schemas[body_type.__name__]
    schema["properties"]["top_k"]["type"] = "integer"
    return schema


def _reference(body_type: Any) -> Schema:
    if isinstance(body_type, tuple):
        return {"oneOf": [_reference(each) for each in body_type]}
    (schema,), _ = msgspec.json.schema_components([body_type], ref_template=REFERENCE)
    return schema


def _operation(name: str, tag: str, summary: str, schema: Schema, media_type: str = JSON) -> Schema:
    response = _response("The answer.", schema, media_type)
    return {"operationId": name, "tags": [tag], "summary": summary, "responses": {"200": response}}


def _response(description: str, schema: Schema, media_type: str = JSON) -> Schema:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _pre(schema: Schema) -> str:
    return f"<pre>{escape(json.dumps(schema, indent=1))}</pre>"
