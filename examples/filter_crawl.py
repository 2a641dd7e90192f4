"""Filtering a web crawl: read a compressed stream of JSON lines, score each page, keep some by a rule, count.

    python examples/filter_crawl.py [--quick] [--crawl PAGES.jsonl.gz] [--out FOLDER]

The model is compressed to a small file, which predicts without a deep-learning framework, and the stream is
read in pieces, so that memory does not grow with it. Without ``--crawl`` a stream is made up: test texts of
the built-in corpus among menus and cookie notices.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import token2wave
from token2wave.data import load_split
from token2wave.runtime.files import written_aside

WANTED = ("science", "math", "electronics")
SURE = 0.6
MOST_NOVEL = 0.99
N_PAGES = 512
"""Pages that are scored at a time."""
JUNK = (
    "cookies login",
    "menu home",
    "next",
    "share",
    "subscribe newsletter",
    "cart checkout",
    "terms imprint",
)


def make_up_crawl(path: Path) -> None:
    """Write the stream that is filtered where none was named."""
    draw = random.Random(0)
    pages = load_split("debian-sections").texts
    pages = pages + [" ".join(draw.choices(JUNK, k=draw.randint(5, 30))) for _ in pages]
    draw.shuffle(pages)
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.writelines(
            json.dumps({"url": f"page/{i}", "text": page}) + "\n" for i, page in enumerate(pages)
        )


def pieces(path: Path) -> Iterator[list[dict[str, str]]]:
    """The pages of a compressed stream, some at a time."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        pages = map(json.loads, stream)
        while piece := list(islice(pages, N_PAGES)):
            yield piece


def verdict(prediction: token2wave.Prediction) -> str:
    """What becomes of a page."""
    if prediction.novelty > MOST_NOVEL:
        return "dropped: unlike anything in training"
    if prediction.label not in WANTED:
        return "dropped: another subject"
    return "kept" if prediction.probability >= SURE else "dropped: not sure"


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Two epochs of preset fast.")
    parser.add_argument("--crawl", type=Path, help="Compressed JSON lines with a key text.")
    parser.add_argument("--out", type=Path, default=Path("build/examples"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    model, small = arguments.out / "sections.safetensors", arguments.out / "sections-small.safetensors"
    quick = {"epochs": 2} if arguments.quick else {}
    token2wave.train("debian-sections", out=model, preset="fast", **quick)
    token2wave.compress(model, small, storage="int8")
    classifier = token2wave.load(small)

    crawl = arguments.crawl
    if crawl is None:
        crawl = arguments.out / "crawl.jsonl.gz"
        make_up_crawl(crawl)
    counts: Counter[str] = Counter()
    kept = arguments.out / "kept.jsonl.gz"
    with written_aside(kept) as aside, gzip.open(aside, "wt", encoding="utf-8") as stream:
        for piece in pieces(crawl):
            predictions = classifier.predict_batch([page["text"] for page in piece], novelty=True)
            for page, prediction in zip(piece, predictions, strict=True):
                outcome = verdict(prediction)
                counts[outcome] += 1
                if outcome == "kept":
                    stream.write(json.dumps({**page, "label": prediction.label}) + "\n")
    for outcome, count in counts.most_common():
        print(f"{count:6,}  {outcome}")
    print(f"{small.stat().st_size:,} bytes of model, {kept}")


if __name__ == "__main__":
    main()
