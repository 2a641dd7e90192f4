"""The page on which people try a classifier: one HTML document, whose script is the modules beside this file.

With a model file in it, the script reads that file and computes as the runtime does (``classifier.js`` and
what it imports); without one it asks the service that the document came from. Its content security policy
lets no other request leave it, and no other script run.
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
from token2wave.serving.page.letters import letters_of

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

MODULES = (
    *("bytes", "lzma", "model_file", "words", "wordpiece", "network", "classifier"),
    *("sources", "dom", "result", "reading", "list_view", "app"),
)
"""Files of the script, each after those that it imports."""
PRIVACY = {
    True: "Everything is computed in this page: what you type stays on this device, and no network is used.",
    False: "What you type goes to the service that this page came from, and nowhere else.",
}
"""What the page says of where texts go, with a model in it and without."""


def page_html(
    classifier: Classifier, title: str, examples: Sequence[str] = (), model: bytes | None = None
) -> str:
    """Write the page.

    Args:
        classifier: the model, for what the page says about it.
        title: heading of the page.
        examples: texts to click on.
        model: its model file, if the page is to compute by itself; its network must compile, then. Without it
            the page asks ``predict`` and ``explain`` beside its own address.
    """
    script, style = script_source(), _resource("page.css")
    connect = "'self'" if model is None else "'none'"
    policy = (
        f"default-src 'none'; script-src 'sha256-{_digest(script)}'; style-src 'sha256-{_digest(style)}'; "
        f"connect-src {connect}; img-src data:; base-uri 'none'; form-action 'none'"
    )
    data = [_data("page-about", "application/json", _json(_about(classifier, examples, model)))]
    if model is not None:
        data.append(_data("page-letters", "application/json", _json(letters_of(classifier.features))))
        data.append(_data("page-model", "text/plain", base64.b64encode(model).decode("ascii")))
    return Template(_resource("page.html")).substitute(
        title=escape(printable(title)),
        policy=escape(policy),
        privacy=PRIVACY[model is not None],
        style=style,
        script=script,
        data="\n".join(data),
    )


@cache
def script_source() -> str:
    """The script: all modules as one, since a file without a server cannot import others."""
    parts = []
    for name in MODULES:
        source = _resource(f"{name}.js")
        source = re.sub(r"^import [^;]+;\n", "", source, flags=re.MULTILINE)
        parts.append(re.sub(r"^export ", "", source, flags=re.MULTILINE).strip())
    return "\n" + "\n\n".join(parts) + "\n"


def _about(classifier: Classifier, examples: Sequence[str], model: bytes | None) -> dict[str, Any]:
    """What the page says of the model."""
    record = classifier.training
    facts = [] if model is None else [("Model file", f"{count(len(model))} bytes")]
    if isinstance(record.get("preset"), str):
        facts.append(("Preset", printable(record["preset"])))
    if isinstance(record.get("data"), str):
        facts.append(("Trained on", printable(record["data"])))
    if isinstance(record.get("rows"), int):
        facts.append(("Training texts", count(record["rows"])))
    if isinstance(record.get("validation_accuracy"), float) and not classifier.multi_label:
        facts.append(("Right on texts held back", percent(record["validation_accuracy"])))
    known = (
        "Words and n-grams it knows" if classifier.features.kind == "words" else "Pieces of words it knows"
    )
    facts.append((known, count(classifier.features.n_rows)))
    return {
        "labels": classifier.label_names,
        "thresholds": classifier.thresholds or None,
        "novelty": classifier.novelty_reference is not None,
        "examples": list(examples),
        "size": None if model is None else f"{max(round(len(model) / 1000), 1):,} kB",
        "facts": facts,
    }


def _data(name: str, kind: str, content: str) -> str:
    return f'<script type="{kind}" id="{name}">{content}</script>'


def _json(value: Any) -> str:
    """JSON that can stand inside a script element, whatever strings are in it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _digest(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")


def _resource(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text("utf-8")
