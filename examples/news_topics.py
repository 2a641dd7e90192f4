"""News topics: train, compare with TF-IDF and a linear SVM, find the confusions, and ship a small file.

    python examples/news_topics.py [--quick] [--out FOLDER]

With ``TOKEN2WAVE_DATA`` set, it reads ``ag_news`` there. Otherwise it sorts the built-in corpus, descriptions
of software, into sections.
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
    model, small_model = arguments.out / "topics.safetensors", arguments.out / "topics-small.safetensors"

    data = "ag_news" if "ag_news" in available() else "debian-sections"
    quick = {"preset": "fast", "epochs": 1} if arguments.quick else {}
    result = token2wave.train(data, out=model, baseline=True, **quick)
    for caveat in result.summary.caveats:
        print(f"note: {caveat}")
    print(f"{data}: {result.summary.accuracy:.2%} of the test texts right")
    print(f"{result.summary.baseline['name']}: {result.summary.baseline['accuracy']:.2%}")

    test = load_split(data, "test", label_names=result.classifier.label_names)
    pairs = zip(test.labels, result.classifier.labels(test.texts), strict=True)
    confusions = Counter((label, predicted) for label, predicted in pairs if label != predicted)
    for (label, predicted), count in confusions.most_common(3):
        print(f"most frequent confusion: {label} taken for {predicted}, {count} times")

    small = token2wave.compress(model, small_model, max_size="300kB", data=data, retrain=not arguments.quick)
    prediction = token2wave.load(small_model).predict(test.texts[0])
    print(f"small file: {small.summary['bytes_after']:,} bytes")
    print(f"it says {prediction.label} about {test.texts[0][:60]!r}")


if __name__ == "__main__":
    main()
