"""Filter a web crawl: train on a few labelled pages, score all pages, keep the good ones.

    python examples/filter_crawl.py [--quick] [--pages N] [--crawl FILES...] [--out FOLDER]

Without ``--crawl`` it makes up a crawl of N pages, as Parquet: descriptions of the built-in corpus among
menus, cookie notices and advertisements, with some broken rows. If it is interrupted or killed, run the same
command again: it resumes.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import token2wave
from token2wave.data import load_split

PAGES_PER_FILE = 100_000
BROKEN_EVERY = 500
KEEP = "label == 'good' and confidence > 0.9 and probability['spam'] < 0.01 and length(text) >= 80"
WORDS = {
    "menu": "menu home next share login subscribe newsletter cookies accept cart checkout terms imprint",
    "spam": "buy cheap pills casino bonus click now winner free offer limited deal discount",
}


class Pages:
    """Made-up pages; the same number gives the same page."""

    def __init__(self) -> None:
        self.good = load_split("debian-sections").texts

    def page(self, number: int) -> tuple[str, str]:
        """Return the text and the label of a page."""
        rng = random.Random(number)
        label = rng.choice(("good", "menu", "spam"))
        if label == "good":
            return " ".join(rng.choices(self.good, k=2)), label
        return " ".join(rng.choices(WORDS[label].split(), k=rng.randint(5, 60))), label


def make_up_crawl(pages: Pages, folder: Path, n_pages: int) -> None:
    """Write the crawl as Parquet files; files that exist are kept."""
    import pyarrow
    from pyarrow import parquet

    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, n_pages, PAGES_PER_FILE):
        path = folder / f"crawl-{first // PAGES_PER_FILE:05}.parquet"
        numbers = range(first, min(first + PAGES_PER_FILE, n_pages))
        if not path.exists():
            texts = [None if n % BROKEN_EVERY == 0 else pages.page(n)[0] for n in numbers]
            urls = [f"https://example.org/{n}" for n in numbers]
            temporary = path.with_suffix(".new")
            parquet.write_table(pyarrow.table({"url": urls, "text": texts}), temporary)
            temporary.replace(path)


def write_labelled(pages: Pages, path: Path, n_pages: int) -> None:
    """Write labelled pages, none of which is in the crawl."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(n_pages):
            text, label = pages.page(-1 - number)
            file.write(json.dumps({"text": text, "label": label}) + "\n")


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="One epoch.")
    parser.add_argument("--pages", type=int, default=2_000, help="Pages to make up.")
    parser.add_argument("--crawl", nargs="+", help="Your files, with a column text.")
    parser.add_argument("--out", type=Path, default=Path("build/examples"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pages, model = Pages(), arguments.out / "quality.safetensors"
    if not model.exists():  # a resumed job needs the model that it started with
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
    print(f"{summary.n_filtered:12,}  filtered out by: {KEEP}")
    print(f"{summary.n_rejected:12,}  broken, with the reasons in {summary.output}/rejected")


if __name__ == "__main__":
    main()
