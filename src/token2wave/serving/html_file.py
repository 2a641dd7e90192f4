"""Exports a classifier as one HTML file, which classifies in the browser without a server or a network."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from token2wave.errors import ConfigError
from token2wave.models.registry import PAGE
from token2wave.serving.page import page_html
from token2wave.storage.atomic import atomic_write, check_writable

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

MAX_EXAMPLES = 20
MAX_MODEL_BYTES = 1 << 28  # browsers cannot hold longer strings than its base64


def export_html(
    classifier: Classifier,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    examples: Sequence[str] = (),
) -> int:
    """Write a page that classifies. It contains the program and the model file, byte for byte, in base64.

    Probabilities, labels, novelty and explanations are those of :class:`token2wave.Classifier`. The page's
    content security policy blocks all requests.

    Args:
        classifier: a classifier whose network compiles.
        path: path of the file.
        title: heading of the page; by default the file's name without its suffix.
        examples: at most 20 texts to click on.

    Returns:
        Size of the file in bytes.

    Raises:
        ConfigError: the network does not compile, the model is too large, or there are too many examples.
        OutputError: the file cannot be written; an existing file stays as it is.
    """
    path = Path(path)
    check_writable(path)
    if len(examples) > MAX_EXAMPLES:
        raise ConfigError(
            f"expected at most {MAX_EXAMPLES} examples, found {len(examples):,}", location="examples"
        )
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
