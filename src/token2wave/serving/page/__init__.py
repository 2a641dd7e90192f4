"""The page on which people try a classifier: one HTML document, whose script is the modules beside this file.

If it contains a model file, the script computes as the Python package does (``classifier.js``, its imports);
else it asks the service that sent it. Its content security policy blocks all other requests and scripts.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from token2wave.errors import ConfigError
from token2wave.formatting import count, printable
from token2wave.models.registry import PAGE
from token2wave.reporting.page_assets import content_policy, join_modules, json_element, page_resource
from token2wave.reporting.summary import describe_recorded
from token2wave.serving.page.letters import page_letter_table
from token2wave.storage.atomic import atomic_write
from token2wave.storage.outputs import Outputs

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

MODULES = (
    *("lzma", "model_file", "network", "normal_form", "words", "wordpiece", "classifier"),
    *("sources", "dom", "result", "reading", "table", "list_view", "review", "app"),
)
"""The files of the script; each comes after those that it imports."""
FACTS: tuple[tuple[str, str, type, Callable[[Any], str]], ...] = (
    ("Preset", "preset", str, printable),
    ("Trained on", "data", str, printable),
    ("Training texts", "rows", int, count),
)
"""What the page says about the training: name, key and type in the record, and format."""
MAX_EXAMPLES = 20
MAX_MODEL_BYTES = 1 << 28  # browsers cannot hold longer strings than its base64
LOCAL_NOTE = "The model runs in this page: your text stays on this device, and no network is used."
SERVICE_NOTE = "Your text goes only to the service that sent this page."


def export_html(
    classifier: Classifier,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    examples: Sequence[str] = (),
    overwrite: bool = False,
) -> int:
    """Write a page that classifies. It contains the program and the model file, byte for byte, in base64.

    Probabilities, labels, novelty and explanations are those of :class:`token2wave.Classifier`. The page's
    content security policy blocks all requests.

    Args:
        classifier: a classifier whose network compiles.
        path: path of the file.
        title: heading of the page; by default the file's name without its suffix.
        examples: at most 20 texts to click on.
        overwrite: whether a file that is no such page may be replaced.

    Returns:
        Size of the file in bytes.

    Raises:
        ConfigError: the network does not compile, the model is too large or one of scores, or there are too
            many examples.
        OutputError: the file cannot be written, or is of another kind; an existing file stays as it is.
    """
    path = Path(path)
    Outputs(overwrite=overwrite).check_file(path, "page with a model")
    if len(examples) > MAX_EXAMPLES:
        raise ConfigError(
            f"expected at most {MAX_EXAMPLES} examples, found {len(examples):,}", location="examples"
        )
    classifier.require_labels("a page that predicts in the browser")
    classifier.require_texts("a page that predicts in the browser")
    classifier.compiled().config.require_backend(PAGE)
    with tempfile.TemporaryDirectory() as folder:
        model_file = Path(folder) / "model.safetensors"
        n_bytes = classifier.save(model_file)
        if n_bytes > MAX_MODEL_BYTES:
            raise ConfigError(
                f"expected a model file of at most {MAX_MODEL_BYTES:,} bytes, found {n_bytes:,}",
                location=str(path),
                hint="make it smaller with: token2wave compress --max-size 1MB",
            )
        page = page_html(classifier, path.stem if title is None else title, examples, model_file.read_bytes())
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return path.stat().st_size


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
    script, style = script_source(), page_resource("page.css")
    data = [json_element("page-about", _about(classifier, examples, model))]
    if model is not None:
        data.append(json_element("page-letters", page_letter_table(classifier.features)))
        encoded = base64.b64encode(model).decode("ascii")
        data.append(f'<script type="text/plain" id="page-model">{encoded}</script>')
    return Template(page_resource("page.html")).substitute(
        title=escape(printable(title)),
        policy=content_policy(script, style, "'self'" if model is None else "'none'"),
        privacy=SERVICE_NOTE if model is None else LOCAL_NOTE,
        style=style,
        script=script,
        review=page_resource("review.html"),
        data="\n".join(data),
    )


@cache
def script_source() -> str:
    """The script of the page."""
    return join_modules(MODULES)


def _about(classifier: Classifier, examples: Sequence[str], model: bytes | None) -> dict[str, Any]:
    """What the page says about the model."""
    record = classifier.training
    facts = [] if model is None else [("Model file", f"{count(len(model))} bytes")]
    for name, key, value_type, text in FACTS:
        if isinstance(record.get(key), value_type):
            facts.append((name, text(record[key])))
    if (headline := describe_recorded(record)) is not None:
        facts.append(headline)
    rows = "Known words and n-grams" if classifier.features.type_name == "words" else "Known WordPiece tokens"
    facts.append((rows, count(classifier.features.n_rows)))
    return {
        "labels": classifier.label_names,
        "thresholds": classifier.thresholds or None,
        "novelty": classifier.novelty_reference is not None,
        "examples": list(examples),
        "size": None if model is None else f"{max(round(len(model) / 1000), 1):,} kB",
        "facts": facts,
    }
