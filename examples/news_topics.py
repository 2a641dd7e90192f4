"""News topics: train, compare with TF-IDF and a linear classifier, see what goes wrong, ship a small file.

    python examples/news_topics.py [--quick] [--out FOLDER]

With ``TOKEN2WAVE_DATA`` set it reads ``ag_news`` there; otherwise it sorts descriptions of software, the
built-in corpus, into sections.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import token2wave
from token2wave.data import available, load_split


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="One epoch of preset fast.")
    parser.add_argument("--out", type=Path, default=Path("build/examples"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    data = "ag_news" if "ag_news" in available() else "debian-sections"
    quick = {"preset": "fast", "epochs": 1} if arguments.quick else {}
    result = token2wave.train(data, out=arguments.out / "topics.safetensors", baseline=True, **quick)
    for caveat in result.summary.caveats:
        print(f"note: {caveat}")
    print(f"{data}: {result.summary.accuracy:.2%} of the test texts right")
    baseline = result.summary.baseline
    print(f"{baseline['name']}: {baseline['accuracy']:.2%}")

    test = load_split(data, "test", label_names=result.classifier.label_names)
    given = result.classifier.labels(test.texts)
    wrong = Counter((right, label) for right, label in zip(test.labels, given, strict=True) if right != label)
    for (right, label), count in wrong.most_common(3):
        print(f"most often wrong: {right} taken for {label}, {count} times")

    small = token2wave.compress(
        arguments.out / "topics.safetensors",
        arguments.out / "topics-small.safetensors",
        max_size="300kB",
        data=data,
        retrain=not arguments.quick,
    )
    print(f"small file: {small.summary['bytes_after']:,} bytes; {test.texts[0][:60]!r} is", end=" ")
    print(token2wave.load(arguments.out / "topics-small.safetensors").predict(test.texts[0]).label)


if __name__ == "__main__":
    main()
