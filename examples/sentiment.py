"""Sentiment: is a review good or bad, which words say so, and when does the prediction change?

    python examples/sentiment.py [--quick] [--out FOLDER]

With ``TOKEN2WAVE_DATA`` set, it reads ``imdb`` or ``sst2`` there. Otherwise it makes up reviews from a few
words, which shows how it works and proves nothing.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import token2wave
from token2wave.data import TextDataset, TextSplit, available
from token2wave.explanation import explanation_page

WORDS = {
    "good": ["gripping", "moving", "clever", "funny", "beautiful", "wonderful", "superb", "warm"],
    "bad": ["boring", "wooden", "silly", "dull", "endless", "awful", "weak", "tedious"],
}
TOPICS = ["plot", "cast", "music", "ending", "dialogue", "photography", "pace"]


def made_up_reviews(n_rows: int, seed: int) -> TextSplit:
    """Make up reviews in which a tenth of the sentences contradicts the label."""
    rng = random.Random(seed)
    texts, labels = [], []
    for _ in range(n_rows):
        label = rng.choice(("good", "bad"))
        opposite = "bad" if label == "good" else "good"
        opinions = [label if rng.random() < 0.9 else opposite for _ in range(rng.randint(2, 5))]
        sentences = [f"The {rng.choice(TOPICS)} is {rng.choice(WORDS[opinion])}." for opinion in opinions]
        texts.append(" ".join(sentences))
        labels.append(label)
    return TextSplit(texts, labels, "made-up reviews")


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="One epoch of preset fast.")
    parser.add_argument("--out", type=Path, default=Path("build/examples"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    names = [name for name in ("imdb", "sst2") if name in available()]
    made_up = TextDataset("made-up reviews", made_up_reviews(2000, 0), test=made_up_reviews(500, 1))
    quick = {"preset": "fast", "epochs": 1} if arguments.quick else {}
    result = token2wave.train(names[0] if names else made_up, **quick)
    classifier = result.classifier
    print(f"{result.summary.data}: {result.summary.accuracy:.2%} of the test texts right")

    review = "The plot is clever. The cast is superb and the music moving. The ending is weak and dull."
    explanation = classifier.explain(review)
    for part in explanation.strongest(n=3):
        effect = part.effects[explanation.predicted]
        print(f"{review[part.start : part.end]:10} {effect:+.3f} on {explanation.label}")
    page = arguments.out / "sentiment.html"
    page.write_text(explanation_page([explanation], "A review"), encoding="utf-8")
    print(f"the whole review in colour: {page}")

    state = classifier.state()
    for sentence in review.split(". "):
        prediction = state.update(sentence).predict()
        print(f"after {sentence[:30]!r}: {prediction.label} ({prediction.probability:.2f})")


if __name__ == "__main__":
    main()
