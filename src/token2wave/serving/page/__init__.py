"""The page on which people try a classifier: one HTML document, whose script is the modules beside this file.

If it contains a model file, the script computes as the Python package does (``classifier.js``, its imports);
else it asks the service that sent it. Its content security policy blocks all other requests and scripts.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from token2wave.config import parse_size
from token2wave.errors import ConfigError, ModelFileError
from token2wave.formatting import NOTHING, count, percent, printable, shorten, size
from token2wave.models.registry import PAGE
from token2wave.reporting.page_assets import content_policy, join_modules, json_element, page_resource
from token2wave.reporting.summary import describe_recorded, describe_rows, recorded_evaluation
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
MAX_SIZE = "2MB"  # of the page, unless another size is asked for
MAX_MODEL_BYTES = 1 << 28  # browsers cannot hold longer strings than its base64
MAX_NAMED = 4  # classes in the description
NAME_COLUMNS, EXAMPLE_COLUMNS = 30, 60
SPARE_BYTES = 100  # for what the page says of a smaller model
SMALLEST_BYTES = 250_000  # of a model, where the page alone is larger than was asked for
LOCAL_NOTE = "The model runs in this page: your text stays on this device, and no network is used."
SERVICE_NOTE = "Your text goes only to the service that sent this page."


@dataclass(frozen=True)
class ExportedPage:
    """What :func:`export_html` wrote.

    Attributes:
        n_bytes: size of the page.
        model_bytes: size of the model in it.
        model_bytes_before: size of the model that was exported; the same if it was not compressed.
        n_changed_examples: of the page's examples, those for which the compressed model decides otherwise.
        problem: why the page is larger than was asked for; None if it is not.
    """

    n_bytes: int
    model_bytes: int
    model_bytes_before: int
    n_changed_examples: int
    problem: str | None = None

    @property
    def is_compressed(self) -> bool:
        """Whether the model in the page is a smaller one."""
        return self.model_bytes < self.model_bytes_before


def export_html(
    classifier: Classifier,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    examples: Sequence[str] = (),
    max_size: int | str | None = MAX_SIZE,
    overwrite: bool = False,
) -> ExportedPage:
    """Write a page that classifies. It contains the program and the model file, in base64.

    Probabilities, labels, novelty and explanations are those of :class:`token2wave.Classifier` with the model
    in the page, which is compressed if the page would be larger than ``max_size``. The page's content
    security policy blocks all requests.

    Args:
        classifier: a classifier whose network compiles.
        path: path of the file.
        title: heading of the page; by default the file's name without its suffix.
        examples: at most 20 texts to click on.
        max_size: size of the page, in bytes or e.g. ``"2MB"``. A larger model is stored with coarser numbers
            until the page fits; if it cannot, it stays as it is. None leaves every model as it is.
        overwrite: whether a file that is no such page may be replaced.

    Returns:
        Sizes of the page and its model, and what became of the model.

    Raises:
        ConfigError: the network does not compile, the model is too large or one of scores, there are too
            many examples, or ``max_size`` is no size.
        OutputError: the file cannot be written, or is of another kind; an existing file stays as it is.
    """
    path = Path(path)
    Outputs(overwrite=overwrite).check_file(path, "page with a model")
    if len(examples) > MAX_EXAMPLES:
        raise ConfigError(
            f"expected at most {MAX_EXAMPLES} examples, found {len(examples):,}", location="examples"
        )
    limit = None if max_size is None else parse_size(max_size)
    classifier.require_labels("a page that predicts in the browser")
    classifier.require_texts("a page that predicts in the browser")
    classifier.compiled().config.require_backend(PAGE)
    title = path.stem if title is None else title
    model, compressed, problem = _model_file(classifier), None, None
    n_bytes_before = len(model)
    if limit is not None:
        others = len(page_html(classifier, title, examples, b"").encode("utf-8")) + SPARE_BYTES
        n_bytes = (limit - others) // 4 * 3  # base64 writes three bytes as four
        if n_bytes_before > n_bytes:
            compressed, problem = _compress(classifier, n_bytes, n_bytes_before)
    n_changed = 0
    if compressed is not None:
        model = _model_file(compressed)
        pairs = zip(*(each.predict_batch(list(examples)) for each in (classifier, compressed)), strict=True)
        n_changed = sum(before.labels != after.labels for before, after in pairs)
    if len(model) > MAX_MODEL_BYTES:
        raise ConfigError(
            f"expected a model file of at most {MAX_MODEL_BYTES:,} bytes, found {len(model):,}",
            location=str(path),
            hint="make it smaller with: token2wave compress --max-size 1MB",
        )
    page = page_html(compressed or classifier, title, examples, model, compressed and classifier)
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return ExportedPage(path.stat().st_size, len(model), n_bytes_before, n_changed, problem)


def _model_file(classifier: Classifier) -> bytes:
    """The bytes of a classifier's model file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        classifier.save(path)
        return path.read_bytes()


def _compress(
    classifier: Classifier, limit: int, n_bytes_before: int
) -> tuple[Classifier | None, str | None]:
    """Make a smaller model, if that is possible, and say why it is larger than the limit, if it is."""
    from token2wave.compression.by_weight import compress_by_weights  # here, as a service needs none of it

    problem = None
    while max(limit, 1) < n_bytes_before:
        try:
            compressed = compress_by_weights(classifier, max(limit, 1))
        except (ConfigError, ModelFileError) as error:
            return None, f"the model cannot be compressed: {error}"
        if compressed is not None:
            return compressed, problem
        problem = "the model cannot be made small enough without its training texts"
        limit = 2 * max(limit, SMALLEST_BYTES)
    return None, problem


def page_html(
    classifier: Classifier,
    title: str,
    examples: Sequence[str] = (),
    model: bytes | None = None,
    original: Classifier | None = None,
) -> str:
    """Write the page.

    Args:
        classifier: the model that the page describes.
        title: heading of the page.
        examples: texts to click on.
        model: the model file, if the page computes by itself; its network must compile. Without it, the page
            sends requests to ``predict`` and ``explain`` beside its own address.
        original: the model that ``classifier`` is a smaller version of, if it is one. Its record says how
            good it was.
    """
    script, style = script_source(), page_resource("page.css")
    data = [json_element("page-about", _about(classifier, examples, model, original))]
    if model is not None:
        data.append(json_element("page-letters", page_letter_table(classifier.features)))
        encoded = base64.b64encode(model).decode("ascii")
        data.append(f'<script type="text/plain" id="page-model">{encoded}</script>')
    return Template(page_resource("page.html")).substitute(
        title=escape(printable(title)),
        description=describe_model(classifier, original),
        summary=describe_model(classifier, original, in_html=False),
        policy=content_policy(script, style, "'self'" if model is None else "'none'"),
        examples="".join(map(_example_button, examples)),
        examples_hidden="" if examples else " hidden",
        privacy=SERVICE_NOTE if model is None else LOCAL_NOTE,
        style=style,
        script=script,
        review=page_resource("review.html"),
        data="\n".join(data),
    )


def describe_model(
    classifier: Classifier, original: Classifier | None = None, *, in_html: bool = True
) -> str:
    """Say in one or two sentences what a model does and how good it is, as its training record tells.

    Args:
        classifier: the model.
        original: the model that it is a smaller version of, if it is one.
        in_html: whether labels are elements, so that their writing direction does not affect the others; the
            rest is escaped in any case.
    """
    names = [escape(shorten(printable(name), NAME_COLUMNS)) or NOTHING for name in classifier.label_names]
    names = [f"<bdi>{name}</bdi>" for name in names] if in_html else names
    n_classes = len(names)
    if n_classes > MAX_NAMED + 1:
        names = [*names[:MAX_NAMED], f"{count(n_classes - MAX_NAMED)} more"]
    names_in_words = ", ".join(names[:-1]) + (f" and {names[-1]}" if len(names) > 1 else names[0])
    action = f"Sorts a text into one of {count(n_classes)} classes"
    if classifier.multi_label:
        action = f"Says which of {count(n_classes)} labels a text has"
    sentences = [f"{action}: {names_in_words}."]
    record = (original or classifier).training
    evaluation = recorded_evaluation(record)
    if evaluation is not None and "accuracy" in evaluation and "updates" not in record:
        rows = f"{count(evaluation['rows'])} {describe_rows(evaluation['evaluated_on'])}"
        right = f"it was right on {percent(evaluation['accuracy'], 1)} of {rows}"
        if classifier.multi_label:
            right = f"all its labels were right for {percent(evaluation['accuracy'], 1)} of {rows}"
        if original is not None:
            right = f"before it was made smaller for this page, {right}"
        sentences.append(f"{right[0].upper()}{right[1:]}.")
    return " ".join(sentences)


def _example_button(example: str) -> str:
    return (
        f'<button type="button" title="{escape(printable(example))}">'
        f"<bdi>{escape(shorten(printable(example), EXAMPLE_COLUMNS)) or NOTHING}</bdi></button>"
    )


@cache
def script_source() -> str:
    """The script of the page."""
    return join_modules(MODULES)


def _about(
    classifier: Classifier, examples: Sequence[str], model: bytes | None, original: Classifier | None
) -> dict[str, Any]:
    """What the page says about the model."""
    record = (original or classifier).training
    facts = [] if model is None else [("Model file", size(len(model)))]
    for name, key, value_type, text in FACTS:
        if isinstance(record.get(key), value_type):
            facts.append((name, text(record[key])))
    if (headline := describe_recorded(record, digits=1)) is not None:
        measure, value = headline
        facts.append((measure, value + ("" if original is None else ", before it was made smaller")))
    rows = "Known words and n-grams" if classifier.features.type_name == "words" else "Known WordPiece tokens"
    facts.append((rows, count(classifier.features.n_rows)))
    return {
        "labels": classifier.label_names,
        "thresholds": classifier.thresholds or None,
        "novelty": classifier.novelty_reference is not None,
        "examples": list(examples),
        "facts": facts,
    }
