"""Reads descriptions of labels, which are texts to learn from where rows are few."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from token2wave.data.labels import canonical_label
from token2wave.data.lines import open_binary
from token2wave.data.sources import is_name
from token2wave.data.splits import in_order
from token2wave.data.text_files import read_labelled
from token2wave.data.texts import TextSplit
from token2wave.data.values import join_names, quote
from token2wave.errors import DataError
from token2wave.options import DataOptions

_NUMBER = re.compile(r"[+-]?[\d.,]+")
_CAMEL_CASE = re.compile(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_HINT = 'for example {"sports": "matches, teams and players"}, or a table of labels and descriptions'

Descriptions = Mapping[str, Sequence[str]]


def read_descriptions(source: Any) -> dict[str, list[str]]:
    """Read the descriptions of labels.

    Args:
        source: a text or a list of texts for each label; or a file, either a JSON object of these, or a table
            (CSV, TSV, JSON Lines, ...) with columns ``label`` and ``description``.

    Returns:
        The descriptions of each label.

    Raises:
        DataError: the file cannot be read, or a description is not a text.
    """
    location = os.fspath(source) if is_name(source) else "label_descriptions"
    if is_name(source) and Path(source).suffix.lower() != ".json":
        options = DataOptions(text_column="description", label_column="label", multi_label=False)
        rows, descriptions = read_labelled(source, options), dict[str, list[str]]()
        for label, text in zip(rows.labels, rows.texts, strict=True):
            descriptions.setdefault(str(label), []).append(text)
    else:
        descriptions = _check(_read_json(location) if is_name(source) else source, location)
    return descriptions


def _read_json(path: str) -> Any:
    with open_binary(Path(path)) as stream:
        content = stream.read()
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        problem = f"expected JSON, found an error: {str(error)[:100]}"
        raise DataError(problem, location=path, hint=_HINT) from error


def _check(source: Any, location: str) -> dict[str, list[str]]:
    """Refuse anything but a mapping from labels to texts."""
    if not isinstance(source, Mapping) or not source:
        raise DataError(f"expected descriptions, found {quote(source)}", location=location, hint=_HINT)
    descriptions = {}
    for label, texts in source.items():
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
            problem = f"expected a text or a list of texts for {quote(label)}, found {quote(texts)}"
            raise DataError(problem, location=location, hint=_HINT)
        descriptions[canonical_label(str(label))] = [text for text in texts if text.strip()]
    return descriptions


def name_in_words(label: str) -> list[str]:
    """Split the name of a label at ``_``, ``-``, ``/`` and camel case; nothing if it is a number."""
    words = _CAMEL_CASE.sub(" ", re.sub(r"[_/-]+", " ", label)).strip()
    return [] if not words or _NUMBER.fullmatch(words.replace(" ", "")) else [words]


def described_names(
    train: TextSplit, official_names: Sequence[str] | None, descriptions: Descriptions
) -> tuple[str, ...]:
    """The names of the classes, which have rows or a description, in order.

    Raises:
        DataError: there are fewer than two, or a description is of none of the official names.
    """
    if official_names is None:
        names = in_order({label for labels in train.label_sets for label in labels} | set(descriptions))
    else:
        names = tuple(official_names)
    if unknown := set(descriptions) - set(names):
        problem = f"expected descriptions of the labels {join_names(names)}, found {quote(*unknown)}"
        raise DataError(problem, location="label_descriptions", hint="correct the label")
    if len(names) < 2:
        problem = f"expected at least two labels, found {len(names)}"
        raise DataError(problem, location="label_descriptions", hint="describe more labels, or add rows")
    return names
