"""Says what a label is, and what looks wrong about the labels and texts of a data set."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from token2wave.data.rows import TEXT_FORMATS
from token2wave.errors import DataError

MIN_WORD_ROWS = 10  # after so many labels the same word is hardly chance
MAX_EXAMPLES = 5
SEPARATORS = "|;,"
_WHOLE_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]{0,17}))\.0+")
_WRITTEN_LIST = re.compile(r"""[\[({]\s*(?:(['"]).*\1\s*,?|\d+(?:\s*,\s*\d+)*)?\s*[\])}]""", re.DOTALL)
_NULLS = frozenset(("", "nan", "null", "none", "n/a", "#n/a", "na", "<na>", "nil"))
_BOOLEANS = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}


def canonical_label(label: str) -> str:
    """The name that a string stands for: without blanks around it, ``1.0`` as ``1``, ``True`` as ``true``."""
    label = label.strip()
    if (match := _WHOLE_NUMBER.fullmatch(label)) is not None:
        return "0" if match[1] == "-0" else match[1]
    return _BOOLEANS.get(label, label)


def label_key(label: str) -> str:
    """What labels share that differ only in case, blanks, Unicode form or characters that cannot be seen."""
    seen = "".join(c for c in canonical_label(label) if unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", " ".join(seen.split())).casefold())


def is_written_list(label: str) -> bool:
    """Whether a string is a list as Python writes it, such as ``['a', 'b']``."""
    return label[0] in "[({" and _WRITTEN_LIST.fullmatch(label) is not None


def data_notes(texts: Sequence[str], label_sets: Sequence[Sequence[str]], source: str = "") -> list[str]:
    """Sentences about texts and labels that look wrong, with counts.

    Args:
        texts: length ``N``.
        label_sets: the labels of each, length ``N``.
        source: the file they come from.
    """
    counts = Counter(label for labels in label_sets for label in labels)
    n_nulls = Counter("empty" if not text.strip() else "null" for text in texts if is_null(text))
    notes = []
    if n_nulls["empty"]:
        notes.append(f"{n_nulls['empty']:,} of {len(texts):,} texts are empty.")
    if n_nulls["null"]:
        notes.append(f"{n_nulls['null']:,} of {len(texts):,} texts are a word like NULL, for a missing text.")
    notes += label_notes(counts)
    is_fasttext = any(suffix in TEXT_FORMATS for suffix in Path(source).suffixes)
    return notes + (_cut_label_notes(texts, label_sets, counts) if is_fasttext else [])


def label_notes(counts: Mapping[str, int]) -> list[str]:
    """Sentences about labels that look wrong.

    Args:
        counts: how many rows have each label.
    """
    notes = []
    variants = defaultdict(list)
    for label in counts:
        variants[label_key(label)].append(label)
    if groups := [group for group in variants.values() if len(group) > 1]:
        examples = "; ".join(_with_counts(group, counts) for group in groups[:MAX_EXAMPLES])
        notes.append(
            f"{sum(map(len, groups))} labels differ from others only in case, blanks or Unicode form: "
            f"{examples}. They are classes of their own; --normalise-labels joins them."
        )
    if nulls := [label for label in counts if is_null(label)]:
        notes.append(f"Words like NULL, for a missing label, are classes: {_with_counts(nulls, counts)}.")
    for separator in SEPARATORS:
        split_names = {label: label.split(separator) for label in counts if separator in label}
        joined = [
            label for label, names in split_names.items() if all(name.strip() in counts for name in names)
        ]
        if joined:
            notes.append(
                f"Labels are others joined by {separator!r}: {_with_counts(joined, counts)}. If a text may "
                f"have several labels, train with --label-separator '{separator}'."
            )
    if odd := [label for label in counts if any(c.isspace() and c not in " \t" for c in label)]:
        notes.append(
            "Labels hold a no-break space or another blank at which they were not cut: "
            f"{_with_counts(odd, counts)}."
        )
    return notes


def is_null(text: str) -> bool:
    """Whether a text is empty or a word that programs write for a missing value."""
    return (len(text) < 8 and text.strip().lower() in _NULLS) or text.isspace()


def require_labels_that_repeat(n_labels: int, n_single: int, n_rows: int, source: str) -> None:
    """Refuse labels that are nearly all different, as where the columns are exchanged."""
    if n_labels > 50 and n_single >= 0.9 * n_rows:
        raise DataError(
            f"expected labels that repeat, found {n_labels:,} different labels in {n_rows:,} rows",
            location=source,
            hint="check that the columns of texts and labels are not exchanged: name them with --text-column "
            "and --label-column",
        )


def _cut_label_notes(
    texts: Sequence[str], label_sets: Sequence[Sequence[str]], counts: Mapping[str, int]
) -> list[str]:
    """Labels after which every text begins with the same word: fastText cuts labels at a blank."""
    first_words: dict[str, str | None] = {}
    for text, labels in zip(texts, label_sets, strict=True):
        for label in labels:
            if first_words.get(label, "") is not None:
                word = next(iter(text[:200].split(maxsplit=1)), "")
                is_new = first_words.setdefault(label, word) == word
                first_words[label] = word if is_new else None
    cut = [(label, word) for label, word in first_words.items() if word and counts[label] >= MIN_WORD_ROWS]
    return [
        f"Every text with the label {label!r} begins with {word!r}. A label of fastText ends at a blank: if "
        f"the word belongs to it, join them with '_'."
        for label, word in cut[:MAX_EXAMPLES]
    ]


def _with_counts(labels: Iterable[str], counts: Mapping[str, int]) -> str:
    names = sorted(labels, key=lambda label: -counts[label])
    look_alike = len({unicodedata.normalize("NFC", label) for label in names}) < len(names)
    quoted = ascii if look_alike else repr
    examples = ", ".join(f"{quoted(label[:40])} ({counts[label]:,})" for label in names[:MAX_EXAMPLES])
    return examples + (f", ... ({len(names)} in all)" if len(names) > MAX_EXAMPLES else "")
