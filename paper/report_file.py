"""Reports as files, JSON that xz may have compressed, and the joining of two of them."""

from __future__ import annotations

import json
import lzma
from collections.abc import Sequence
from pathlib import Path

from paper.result_store import join_origins
from paper.studies import STUDIES
from paper.study import Document
from token2wave.errors import DataError
from token2wave.storage.atomic import atomic_write

FORMAT = 2
PARTS = ("accuracy", "everyday", *STUDIES)
"""Of a report, in their order."""
MEASURED = Path(__file__).parent / "results" / "report.json.xz"
"""The report that is in the repository."""


def read_report(path: Path) -> Document:
    """Read a report; its name ends in ``.xz`` if it is compressed.

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


def take_over(document: Document, earlier: Document, parts: Sequence[str]) -> Document:
    """Join a report of some parts with the other parts of an earlier report.

    Of the accuracy comparison, a system that is not complete here is taken over, too.
    """
    joined = {**earlier, **document}
    joined["datasets"] = {**earlier["datasets"]}
    for name, new in document["datasets"].items():
        older = earlier["datasets"].get(name, {"systems": {}, "everyday": {}})
        dataset = {**older, **new}
        if "everyday" not in parts:
            dataset["everyday"] = older["everyday"]
        dataset["systems"] = older["systems"] | {
            key: system
            for key, system in new["systems"].items()
            if "skipped" not in system or key not in older["systems"]
        }
        joined["datasets"][name] = dataset
    studies = {name: study for name, study in earlier["studies"].items() if name not in parts}
    studies |= document["studies"]
    joined["studies"] = {name: studies[name] for name in STUDIES if name in studies}
    unfinished = [entry for entry in earlier["unfinished"] if entry.partition(",")[0] not in parts]
    joined["unfinished"] = unfinished + document["unfinished"]
    made = {part: origin for part, origin in earlier["made"].items() if part not in parts} | document["made"]
    others = earlier["datasets"].keys() - document["datasets"].keys()
    if others and "everyday" in earlier["made"] and "everyday" in document["made"]:
        made["everyday"] = join_origins(earlier["made"]["everyday"], document["made"]["everyday"])
    if "accuracy" in document["made"]:
        made["accuracy"] = origin_of_systems(joined["datasets"], earlier["made"].get("accuracy"))
    joined["made"] = {part: made[part] for part in PARTS if part in made}
    return joined


def origin_of_systems(datasets: Document, earlier: Document | None = None) -> Document:
    """Origin of the accuracy comparison; ``earlier`` is that of systems which have none of their own."""
    systems = [system for dataset in datasets.values() for system in dataset["systems"].values()]
    first, *others = [system.get("made", earlier) for system in systems if "runs" in system]
    for origin in others:
        first = join_origins(first, origin)
    return dict(first)
