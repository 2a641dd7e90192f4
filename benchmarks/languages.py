r"""Languages other than English: the default beside TF-IDF, tuned, on characters, words and segmented words.

    python benchmarks/languages.py --runs 5 --threads 2
    python benchmarks/languages.py --name quick --data th_wisesight,sib_tha_Thai --systems small --runs 1

A data set ``sib_LANGUAGE`` is one language of ``sib200_35langs``; its validation rows are not used, as a user
who has one file has none. The other names are those of ``benchmarks/compare.py``, which makes the runs and
takes the other options. It is one result, ``results/benchmarks/languages.json``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from pathlib import Path

import compare
from measuring import ROOT, comma_list

SETS = [
    "ko_hate",
    "ar_arsarcasm2",
    "th_wisesight",
    "hi_bbc",
    "de_germeval2018",
    "zh_chnsenticorp",
    "zh_tnews",
    "ja_jrte_sentiment",
]
ALL = "sib200_35langs"
SYSTEMS = "small,tfidf_characters_tuned,tfidf_words_tuned,tfidf_segmented_tuned"
PREFIX = "sib_"


def languages() -> list[str]:
    """The languages of the multilingual data set, in the order of its rows."""
    import pyarrow.parquet as pq

    table = pq.read_table(Path(os.environ["TOKEN2WAVE_DATA"], ALL, "train.parquet"), columns=["lang"])
    return list(dict.fromkeys(table["lang"].to_pylist()))


def write_language(language: str, folder: Path) -> Path:
    """Write training and test rows of a language to a folder of its own."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    source, target = Path(os.environ["TOKEN2WAVE_DATA"], ALL), folder / f"{PREFIX}{language}"
    target.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        table = pq.read_table(source / f"{split}.parquet")
        rows = table.filter(pc.equal(table["lang"], language)).select(["text", "label"])
        with (target / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(rows.column_names)
            writer.writerows(zip(*rows.to_pydict().values(), strict=True))
    names = json.loads((source / "README.json").read_text(encoding="utf-8"))["label_names"]
    (target / "README.json").write_text(json.dumps({"label_names": names}), encoding="utf-8")
    return target


def main(arguments: list[str] | None = None) -> int:
    """Write the files of the languages, and compare on them."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=False)
    parser.add_argument("--data", type=comma_list)
    options, others = parser.parse_known_args(arguments)
    names = options.data or [*SETS, ALL, *(PREFIX + language for language in languages())]
    folder = ROOT / "build" / "languages"
    data = [
        os.path.relpath(write_language(name.removeprefix(PREFIX), folder))
        if name.startswith(PREFIX)
        else name
        for name in names
    ]
    defaults = ["--name", "languages", "--systems", SYSTEMS, "--accuracy-alone"]
    return compare.main([*defaults, *others, "--data", ",".join(data)])


if __name__ == "__main__":
    sys.exit(main())
