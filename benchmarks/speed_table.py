r"""One table of speeds, each beside its rival's in the same run, from the results in a folder.

    python benchmarks/speed_table.py --results build/bench

``make bench-quick`` prints it, from ``quick.json`` (whole trainings, by ``compare.py``), ``prediction.json``,
``scoring.json`` and ``growth-quick.json``, and names those that are not there.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from measuring import ROOT
from tables import quantity

from token2wave.formatting import count

Record = dict[str, Any]
OURS, RIVALS = (
    ("fast", "small"),
    {"fasttext": "fastText", "fasttext_lr05": "fastText", "tfidf_svc": "TF-IDF + SVM"},
)


class Row(NamedTuple):
    """One figure of ours beside that of a rival; a ratio above 1 is in our favour.

    Attributes:
        what: is measured, and on which data.
        ours: name of our system.
        figure: ours, in words.
        beside: name and figure of the rival, or where a growth begins and ends, in words; may be empty.
        ratio: how many times as good as the rival; None without one.
    """

    what: str
    ours: str
    figure: str
    beside: str = ""
    ratio: float | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "benchmarks")
    folder = parser.parse_args(arguments).results
    documents = {name: _read(folder, name) for name in READERS}
    rows = [row for name, document in documents.items() for row in READERS[name](document)]
    cells = [("", "system", "figure", "beside it", "ratio")]
    cells += [(row.what, row.ours, row.figure, row.beside, _ratio(row.ratio)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if missing := [name for name, document in documents.items() if not document]:
        print(f"\nNot measured: {', '.join(missing)}.")
    print(
        "\nA ratio above 1 is in favour of token2wave. Single runs are noisy: docs/benchmarks.md has medians."
    )


def _read(folder: Path, name: str) -> Record:
    path = folder / f"{name}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _medians(document: Record) -> Iterator[tuple[str, Record]]:
    """The medians of the systems, by data set."""
    for data, systems in document.get("medians", {}).items():
        yield data, {key: system["figures"] for key, system in systems.items() if system.get("figures")}


def _training(document: Record) -> Iterator[Row]:
    """Whole trainings, the reading of files included: less is better."""
    for data, systems in _medians(document):
        for ours in (key for key in OURS if key in systems):
            own = systems[ours]["processor_seconds"]["median"]
            for rival in (key for key in RIVALS if key in systems):
                theirs = systems[rival]["processor_seconds"]["median"]
                beside = f"{RIVALS[rival]} {theirs:.2f} s"
                yield Row(f"training in all, {data}", ours, f"{own:.2f} s", beside, theirs / own)


def _prediction(document: Record) -> Iterator[Row]:
    """Many texts, one text, the first text of a process, explanations and an update."""
    figures = (
        ("texts_per_second", "texts a second", True),
        ("latency_seconds", "one text", False),
        ("cold_start_seconds", "first text of a process", False),
    )
    for data, systems in _medians(document):
        for key, what, more_is_better in figures:
            for ours in (name for name in OURS if name in systems):
                own = systems[ours][key]["median"]
                for rival in (name for name in RIVALS if name in systems):
                    theirs = systems[rival][key]["median"]
                    ratio = own / theirs if more_is_better else theirs / own
                    beside = f"{RIVALS[rival]} {_amount(key, theirs)}"
                    yield Row(f"{what}, {data}", ours, _amount(key, own), beside, ratio)
        for ours in (name for name in OURS if "explained_texts_per_second" in systems.get(name, {})):
            explained = systems[ours]["explained_texts_per_second"]["median"]
            yield Row(f"explanations a second, {data}", ours, count(explained))
            update, rows = (systems[ours][key]["median"] for key in ("update_seconds", "update_rows"))
            yield Row(f"update with {count(rows)} rows, {data}", ours, quantity(update, "s"))


def _amount(key: str, value: float) -> str:
    return count(value) if key.endswith("per_second") else quantity(value, "s")


def _scoring(document: Record) -> Iterator[Row]:
    """Scoring of files beside the bare runtime, by processor time a text."""
    for preset, ways in document.get("beside", {}).get("presets", {}).items():
        bare = ways["bare"]["median"]
        for way in (name for name in ways if name != "bare"):
            own = ways[way]["median"]
            yield Row(
                f"scoring, {' to '.join(way.split())}",
                preset,
                f"{own:.1f} us",
                f"bare prediction {bare:.1f} us",
                bare / own,
            )


def _growth(document: Record) -> Iterator[Row]:
    """Exponents of whole trainings: how time, memory and file grow with what the data has more of."""
    for name, study in document.get("studies", {}).items():
        for curve in study["curves"] if name.startswith("train-") else ():
            if curve["fit"] is not None:
                preset = re.search(r"preset '(\w+)'", study["setting"][0])
                assert preset is not None
                first, last = (quantity(curve["points"][place]["median"], curve["unit"]) for place in (0, -1))
                figure = f"exponent {curve['fit']['slope']:.2f}"
                yield Row(f"{study['title']}: {curve['name']}", preset[1], figure, f"{first} to {last}")


READERS = {"quick": _training, "prediction": _prediction, "scoring": _scoring, "growth-quick": _growth}


if __name__ == "__main__":
    main()
