r"""Several text columns: joined, or each also a field of its own, whose words no other column shares.

    python benchmarks/text_columns.py --data sick,mrpc,qqp_part,reuters90 --seeds 0,1,2

``joined`` is what ``--text-column a,b`` does. ``marked`` gives the words of the shorter column features of
their own, by a suffix. ``both`` has the joined texts and, behind them, the marked words. Data sets are in
``TOKEN2WAVE_DATA``. Writes ``results/benchmarks/text_columns.json`` after each run.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from measuring import command_line, describe_origin, make_parser, write_document

from token2wave import train
from token2wave.core import n_threads
from token2wave.data import DataOptions, TextDataset, load_splits
from token2wave.data.values import join_cells

COLUMNS = {
    "sick": ("text", "text_pair"),
    "mrpc": ("text", "text_pair"),
    "qqp_part": ("text", "text_pair"),
    "reuters90": ("title", "text"),
}
SYSTEMS = ("joined", "marked", "both")


def make_systems(name: str) -> dict[str, TextDataset]:
    """The data set with the texts of each system; without validation rows, which training holds out."""
    columns = [replace(load_splits(name, DataOptions(column)), validation=None) for column in COLUMNS[name]]
    sizes = [sum(map(len, splits.train.texts)) for splits in columns]
    return {system: _with_texts(columns, sizes.index(min(sizes)), system) for system in SYSTEMS}


def _with_texts(columns: list[TextDataset], shorter: int, system: str) -> TextDataset:
    def join(cells: tuple[str, ...]) -> str:
        marked = re.sub(r"\w+", r"\g<0>_2", cells[shorter])
        if system == "marked":
            cells = tuple(marked if i == shorter else cell for i, cell in enumerate(cells))
        return str(join_cells([*cells, marked] if system == "both" else cells) or "")

    splits = {}
    for split in ("train", "test"):
        rows = [getattr(column, split) for column in columns]
        texts = list(map(join, zip(*(each.texts for each in rows), strict=True)))
        splits[split] = replace(rows[0], texts=texts)
    return replace(columns[0], **splits)


def main() -> None:
    """Train all systems on all data sets."""
    parser = make_parser(__doc__, data=list(COLUMNS), preset="fast", seeds=[0, 1, 2])
    options = parser.parse_args()
    rows: dict[str, dict[str, list[float]]] = {}
    document: dict[str, Any] = {
        "name": "text_columns",
        "command": command_line(__file__),
        "preset": options.preset,
        "seeds": options.seeds,
        "caveats": [],
        "data": {},
        "rows": rows,
        **describe_origin(n_threads()),
    }
    for name in options.data:
        for system, splits in make_systems(name).items():
            assert splits.test is not None
            document["data"][name] = {
                "columns": COLUMNS[name],
                "train": len(splits.train),
                "test": len(splits.test),
            }
            document["caveats"] += [note for note in splits.caveats if note not in document["caveats"]]
            for seed in options.seeds:
                accuracy = train(splits, preset=options.preset, seed=seed, baseline=False).accuracy
                rows.setdefault(name, {}).setdefault(system, []).append(accuracy)
                write_document(options.results / "text_columns.json", document)
            print(name, system, rows[name][system], flush=True)


if __name__ == "__main__":
    main()
