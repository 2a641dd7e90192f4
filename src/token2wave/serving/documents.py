"""The description of the service for people. It asks nothing of other hosts."""

from __future__ import annotations

import json
from html import escape
from string import Template
from typing import TYPE_CHECKING, Any

from token2wave.serving.limits import Limits
from token2wave.serving.openapi import openapi_document

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>$title</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }
pre { overflow-x: auto; padding: 0.75rem; border: 1px solid; border-radius: 0.5rem; }
h2 { margin-top: 2rem; }
</style>
<main>
<h1>$title</h1>
$content
</main>
</html>
""")


def documentation_page(limits: Limits, classifier: Classifier) -> str:
    """The OpenAPI description for people."""
    document = openapi_document(limits, classifier)
    parts = [f"<p>{escape(document['info']['description'])}</p>", '<p><a href="openapi.json">OpenAPI</a></p>']
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(operation['summary'])}</p>")
            body = operation.get("requestBody")
            if body is not None:
                parts.append(f"<h3>Body</h3>{_schema(body['content']['application/json']['schema'])}")
            for status, response in operation["responses"].items():
                kinds = ", ".join(response["content"])
                parts.append(f"<p><strong>{status}</strong> {escape(response['description'])} ({kinds})</p>")
    parts.append("<h2>Schemas</h2>")
    for name, schema in document["components"]["schemas"].items():
        parts.append(f'<h3 id="{name}">{name}</h3>{_schema(schema)}')
    return PAGE.substitute(title="The service", content="\n".join(parts))


def _schema(schema: dict[str, Any]) -> str:
    return f"<pre>{escape(json.dumps(schema, indent=1))}</pre>"
