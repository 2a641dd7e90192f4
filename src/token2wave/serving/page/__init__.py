"""The page on which people try a classifier: one HTML document, whose script is the modules beside this file.

If it contains a model file, the script computes as the Python package does (``classifier.js``, its imports);
else it asks the service that sent it. Its content security policy blocks all other requests and scripts.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any

from token2wave.formatting import count, percent, printable
from token2wave.serving.page.letters import page_letter_table

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

MODULES = (
    *("lzma", "model_file", "network", "words", "wordpiece", "classifier"),
    *("sources", "dom", "result", "reading", "list_view", "app"),
)
"""The files of the script; each comes after those that it imports."""
LOCAL_NOTE = "The model runs in this page: your text stays on this device, and no network is used."
SERVICE_NOTE = "Your text goes only to the service that sent this page."


def page_html(
    classifier: Classifier, title: str, examples: Sequence[str] = (), model: bytes | None = None
) -> str:
    """Write the page.

    Args:
        classifier: the model that the page describes.
        title: heading of the page.
        examples: texts to click on.
        model: the model file, if the page computes by itself; its network must compile. Without it, the page
            sends requests to ``predict`` and ``explain`` beside its own address.
    """
    script, style = script_source(), _resource("page.css")
    connect = "'self'" if model is None else "'none'"
    policy = (
        f"default-src 'none'; script-src 'sha256-{_digest(script)}'; style-src 'sha256-{_digest(style)}'; "
        f"connect-src {connect}; img-src data:; base-uri 'none'; form-action 'none'"
    )
    data = [_data_element("page-about", _json(_about(classifier, examples, model)))]
    if model is not None:
        data.append(_data_element("page-letters", _json(page_letter_table(classifier.features))))
        data.append(_data_element("page-model", base64.b64encode(model).decode("ascii"), "text/plain"))
    return Template(_resource("page.html")).substitute(
        title=escape(printable(title)),
        policy=escape(policy),
        privacy=SERVICE_NOTE if model is None else LOCAL_NOTE,
        style=style,
        script=script,
        data="\n".join(data),
    )


@cache
def script_source() -> str:
    """The script: all modules as one, because a file cannot import others without a server."""
    source = "\n".join(_resource(f"{name}.js") for name in MODULES)
    return re.sub(r"^(import [^;]+;\n|export )", "", source, flags=re.MULTILINE)


def _about(classifier: Classifier, examples: Sequence[str], model: bytes | None) -> dict[str, Any]:
    """What the page says about the model."""
    record = classifier.training
    facts = [] if model is None else [("Model file", f"{count(len(model))} bytes")]
    if isinstance(record.get("preset"), str):
        facts.append(("Preset", printable(record["preset"])))
    if isinstance(record.get("data"), str):
        facts.append(("Trained on", printable(record["data"])))
    if isinstance(record.get("rows"), int):
        facts.append(("Training texts", count(record["rows"])))
    if isinstance(record.get("validation_accuracy"), float) and not classifier.multi_label:
        facts.append(("Validation accuracy", percent(record["validation_accuracy"])))
    rows = "Known words and n-grams" if classifier.features.kind == "words" else "Known WordPiece tokens"
    facts.append((rows, count(classifier.features.n_rows)))
    return {
        "labels": classifier.label_names,
        "thresholds": classifier.thresholds or None,
        "novelty": classifier.novelty_reference is not None,
        "examples": list(examples),
        "size": None if model is None else f"{max(round(len(model) / 1000), 1):,} kB",
        "facts": facts,
    }


def _data_element(name: str, content: str, media_type: str = "application/json") -> str:
    return f'<script type="{media_type}" id="{name}">{content}</script>'


def _json(value: Any) -> str:
    """JSON that is safe inside a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _digest(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")


def _resource(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text("utf-8")
