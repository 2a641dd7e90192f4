"""Intent routing: answer what is sure, hand the rest to a person, and notice what nobody has asked before.

    python examples/intent_routing.py [--quick]

A question is answered where the probability of its intent is high enough and its novelty low enough. How high
is chosen on rows that training did not see, never on the test rows. With ``TOKEN2WAVE_DATA`` set it reads
``banking77`` there; otherwise questions are made up from a few words.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import replace

import token2wave
from token2wave.data import TextDataset, TextSplit, available, load_split, load_splits

RIGHT_ENOUGH = 0.97
"""The share of the answered questions that has to be right on the rows held back."""
MAX_NOVEL = 0.99
INTENTS = {
    "card lost": ("lost card", "card stolen", "wallet gone with card"),
    "card blocked": ("card blocked", "card does not work", "card refused at the shop"),
    "transfer late": ("transfer missing", "money not arrived", "payment still pending"),
    "change address": ("moved house", "new address", "update where i live"),
    "close account": ("close account", "leave the bank", "delete my profile"),
}
FRAMES = ("hello, {}", "{} - what now?", "please help: {}", "{}, since yesterday", "i think {}")


def made_up_questions(n_rows: int, seed: int) -> TextSplit:
    """Questions of a few words; one in fifteen has another intent than it says."""
    draw = random.Random(seed)
    labels = [draw.choice(sorted(INTENTS)) for _ in range(n_rows)]
    said = [draw.choice(sorted(INTENTS)) if draw.random() < 1 / 15 else label for label in labels]
    texts = [draw.choice(FRAMES).format(draw.choice(INTENTS[intent])) for intent in said]
    return TextSplit(texts, labels, "made-up questions")


def every(rows: TextSplit, step: int, kept: bool) -> TextSplit:
    """Every ``step``-th row, or all others."""
    chosen = [i for i in range(len(rows)) if (i % step == 0) == kept]
    return replace(rows, texts=[rows.texts[i] for i in chosen], labels=[rows.labels[i] for i in chosen])


def lowest_probability(predictions: Sequence[token2wave.Prediction], labels: Sequence[str]) -> float:
    """The lowest probability from which on enough of the answers are right."""
    surest = sorted(zip(predictions, labels, strict=True), key=lambda pair: pair[0].probability, reverse=True)
    lowest, n_right = 1.0, 0
    for n, (prediction, label) in enumerate(surest, start=1):
        n_right += prediction.label == label
        if n_right / n >= RIGHT_ENOUGH:
            lowest = prediction.probability
    return lowest


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Few epochs of preset fast.")
    quick = {"preset": "fast", "epochs": 3} if parser.parse_args().quick else {}

    if "banking77" in available():
        data = load_splits("banking77")
    else:
        data = TextDataset(
            "made-up questions", made_up_questions(1500, 0), None, made_up_questions(500, 1), None, ()
        )
    held_out = every(data.train, 5, kept=True)
    classifier = token2wave.train(replace(data, train=every(data.train, 5, kept=False)), **quick).classifier
    lowest = lowest_probability(classifier.predict_batch(held_out.texts), held_out.labels)
    print(f"{data.name}: answered from a probability of {lowest:.2f} on")

    predictions = classifier.predict_batch(data.test.texts, novelty=True)
    answered = [
        prediction.label == label
        for prediction, label in zip(predictions, data.test.labels, strict=True)
        if prediction.probability >= lowest and prediction.novelty <= MAX_NOVEL
    ]
    right = sum(answered) / max(1, len(answered))
    print(f"{len(answered)} of {len(predictions)} test questions answered, {right:.1%} of them rightly")

    foreign = load_split("debian-sections").texts[:200]
    novel = sum(
        prediction.novelty > MAX_NOVEL or prediction.probability < lowest
        for prediction in classifier.predict_batch(foreign, novelty=True)
    )
    print(f"{novel} of {len(foreign)} texts on other matters go to a person")


if __name__ == "__main__":
    main()
