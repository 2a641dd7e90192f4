"""Filtering a web crawl: train on a few labelled pages, score all pages, keep the good ones.

    python examples/filter_crawl.py [--quick] [--pages N] [--crawl FILES...] [--out FOLDER]

Without ``--crawl`` a crawl of N pages is made up, as Parquet: descriptions of the built-in corpus among
menus, cookie notices and advertisements, with some rows that are broken. Interrupted or killed, the same
command goes on.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import token2wave
from token2wave.data import load_split

PAGES_OF_A_FILE = 100_000
EVERY_BROKEN = 500
KEEP = "label == 'good' and confidence > 0.9 and probability['spam'] < 0.01 and length(text) >= 80"
WORDS = {
    "menu": "menu home next share login subscribe newsletter cookies accept cart checkout terms imprint",
    "spam": "buy cheap pills casino bonus click now winner free offer limited deal discount",
}


class Pages:
    """Pages that are made up; the same number gives the same page."""

    def __init__(self) -> None:
        self.good = load_split("debian-sections").texts

    def page(self, number: int) -> tuple[str, str]:
        """A text, and what it is."""
        draw = random.Random(number)
        kind = draw.choice(("good", "menu", "spam"))
        if kind == "good":
            return " ".join(draw.choices(self.good, k=2)), kind
        return " ".join(draw.choices(WORDS[kind].split(), k=draw.randint(5, 60))), kind


def make_up_crawl(pages: Pages, folder: Path, n_pages: int) -> None:
    """Write Parquet files; one that is there stays."""
    import pyarrow
    from pyarrow import parquet

    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, n_pages, PAGES_OF_A_FILE):
        path = folder / f"crawl-{first // PAGES_OF_A_FILE:05}.parquet"
        numbers = range(first, min(first + PAGES_OF_A_FILE, n_pages))
        if not path.exists():
            texts = [None if n % EVERY_BROKEN == 0 else pages.page(n)[0] for n in numbers]
            urls = [f"https://example.org/{n}" for n in numbers]
            aside = path.with_suffix(".new")
            parquet.write_table(pyarrow.table({"url": urls, "text": texts}), aside)
            aside.replace(path)


def write_labelled(pages: Pages, path: Path, n_pages: int) -> None:
    """Pages that somebody has looked at; they are not in the crawl."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(n_pages):
            text, label = pages.page(-1 - number)
            file.write(json.dumps({"text": text, "label": label}) + "\n")


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="One epoch.")
    parser.add_argument("--pages", type=int, default=2_000, help="Pages to make up.")
    parser.add_argument("--crawl", nargs="+", help="Files of yours with a column text.")
    parser.add_argument("--out", type=Path, default=Path("build/examples"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pages, model = Pages(), arguments.out / "quality.safetensors"
    if not model.exists():  # so that a job that was interrupted goes on with the model that it began with
        write_labelled(pages, arguments.out / "labelled.jsonl", 600)
        quick = {"epochs": 1} if arguments.quick else {}
        token2wave.train(arguments.out / "labelled.jsonl", out=model, preset="fast", **quick)

    crawl = arguments.crawl
    if crawl is None:
        folder = arguments.out / f"crawl-{arguments.pages}"
        make_up_crawl(pages, folder, arguments.pages)
        crawl = [folder]
    summary = token2wave.score(model, crawl, arguments.out / "kept", keep=KEEP)
    print(f"{summary.n_read:12,}  pages")
    print(f"{summary.n_written:12,}  kept, in {summary.output}/parts")
    print(f"{summary.n_filtered:12,}  left out by: {KEEP}")
    print(f"{summary.n_rejected:12,}  broken; why is in {summary.output}/rejected")


if __name__ == "__main__":
    main()
