"""Text without labels, for a teacher to label."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from token2wave.data import load_texts

Unlabelled = str | os.PathLike[str] | Sequence[str]


def unlabelled_texts(
    source: Unlabelled, text_column: str, held_out: Collection[str], learnt_from: Collection[str]
) -> tuple[list[str], list[str]]:
    """Texts of a file, a data set or a list, each once, and sentences that say what was left out.

    Args:
        source: a readable file, a data set with a training split, or the texts.
        text_column: the column of the texts, in formats with columns.
        held_out: texts that anything is chosen or reported by: those identical to one are left out.
        learnt_from: texts that are learnt from with their labels: they are left out, too.

    Raises:
        DataError: the texts cannot be read.
    """
    given = load_texts(source, text_column=text_column) if isinstance(source, str | os.PathLike) else source
    distinct = dict.fromkeys(given)
    held_out, learnt_from = frozenset(held_out), frozenset(learnt_from)
    kept = [text for text in distinct if text not in held_out and text not in learnt_from]
    n_held_back = sum(text in held_out for text in distinct)
    notes = []
    if n_held_back:
        notes.append(
            f"{n_held_back:,} of the unlabelled texts are identical to a validation or test text "
            "and were left out."
        )
    n_others = len(given) - n_held_back - len(kept)
    if n_others:
        notes.append(
            f"{n_others:,} of the unlabelled texts stand there twice or among the training texts "
            "and were left out."
        )
    return kept, notes
