"""The file of a report: JSON, or JSON that xz has compressed if its name ends in ``.xz``."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

from paper.study import Document
from token2wave.errors import DataError
from token2wave.storage.atomic import atomic_write

FORMAT = 2
MEASURED = Path(__file__).parent / "results" / "report.json.xz"
"""The report that is in the repository."""


def read_report(path: Path) -> Document:
    """Read a report.

    Raises:
        DataError: it cannot be read, or has another format.
    """
    try:
        content = path.read_bytes()
        document = json.loads(lzma.decompress(content) if path.suffix == ".xz" else content)
        if document["format"] != FORMAT:
            raise ValueError(f"expected format {FORMAT}, found {document['format']!r}")
    except (OSError, ValueError, KeyError, TypeError, lzma.LZMAError) as error:
        problem = f"expected the report of an earlier run, but it cannot be read ({error})"
        hint = "name a report.json or report.json.xz, or leave the option out"
        raise DataError(problem, location=str(path), hint=hint) from error
    return dict(document)


def encode_report(document: Document) -> bytes:
    """Encode a report as JSON without spaces and line breaks, which would be a quarter of it."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace")


def keep_report(document: Document, path: Path = MEASURED) -> None:
    """Write a report, compressed, to where the documents are rendered from.

    Raises:
        DataError: it is one of a quick run, whose figures mean nothing.
        OutputError: the file cannot be written.
    """
    if document["quick"]:
        raise DataError(
            "expected the report of a full run, found one of a quick run",
            hint="run 'make reproduce', or measure some parts and add them with --update",
        )
    with atomic_write(path) as temporary:
        temporary.write_bytes(lzma.compress(encode_report(document), preset=9 | lzma.PRESET_EXTREME))
