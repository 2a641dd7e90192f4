"""Intent routing: answer confident predictions, hand the rest to a person, and notice new kinds of questions.

    python examples/intent_routing.py [--quick]

A question is answered if the probability of its intent is high enough and its novelty low enough. Held-out
training rows decide how high; test rows never do. With ``TOKEN2WAVE_DATA`` set, it reads ``banking77`` there.
Otherwise it makes up questions from a few words.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import replace

import token2wave
from token2wave.data import TextDataset, TextSplit, available, load_split, load_splits

TARGET_ACCURACY = 0.97
"""Share of the answered questions that must be right on the held-out rows."""
MAX_NOVELTY = 0.99
INTENTS = {
    "card lost": ("lost card", "card stolen", "wallet gone with card"),
    "card blocked": ("card blocked", "card does not work", "card refused at the shop"),
    "transfer late": ("transfer missing", "money not arrived", "payment still pending"),
    "change address": ("moved house", "new address", "update where i live"),
    "close account": ("close account", "leave the bank", "delete my profile"),
}
FRAMES = ("hello, {}", "{} - what now?", "please help: {}", "{}, since yesterday", "i think {}")


def made_up_questions(n_rows: int, seed: int) -> TextSplit:
    """Make up questions; about one in fifteen is labelled as another intent."""
    rng = random.Random(seed)
    labels = [rng.choice(sorted(INTENTS)) for _ in range(n_rows)]
    intents = [rng.choice(sorted(INTENTS)) if rng.random() < 1 / 15 else label for label in labels]
    texts = [rng.choice(FRAMES).format(rng.choice(INTENTS[intent])) for intent in intents]
    return TextSplit(texts, labels, "made-up questions")


def select(rows: TextSplit, indices: Sequence[int]) -> TextSplit:
    """Take some rows of a split."""
    return replace(rows, texts=[rows.texts[i] for i in indices], labels=[rows.labels[i] for i in indices])


def probability_limit(predictions: Sequence[token2wave.Prediction], labels: Sequence[str]) -> float:
    """Find the lowest probability from which on enough answers are right."""
    pairs = sorted(zip(predictions, labels, strict=True), key=lambda pair: -pair[0].probability)
    limit, n_right = 1.0, 0
    for n, (prediction, label) in enumerate(pairs, start=1):
        n_right += prediction.label == label
        if n_right / n >= TARGET_ACCURACY:
            limit = prediction.probability
    return limit


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Few epochs of preset fast.")
    quick = {"preset": "fast", "epochs": 3} if parser.parse_args().quick else {}

    if "banking77" in available():
        data = load_splits("banking77")
    else:
        data = TextDataset("made-up questions", made_up_questions(1500, 0), test=made_up_questions(500, 1))
    rows = range(len(data.train))
    held_out = select(data.train, rows[::5])
    train = select(data.train, [i for i in rows if i % 5])
    classifier = token2wave.train(replace(data, train=train), **quick).classifier
    limit = probability_limit(classifier.predict_batch(held_out.texts), held_out.labels)
    print(f"{data.name}: answers from a probability of {limit:.2f} on")

    def is_answered(prediction: token2wave.Prediction) -> bool:
        return prediction.probability >= limit and prediction.novelty <= MAX_NOVELTY

    predictions = classifier.predict_batch(data.test.texts, novelty=True)
    answered = [
        prediction.label == label
        for prediction, label in zip(predictions, data.test.labels, strict=True)
        if is_answered(prediction)
    ]
    accuracy = sum(answered) / max(1, len(answered))
    print(f"{len(answered)} of {len(predictions)} test questions answered, {accuracy:.1%} of them right")

    foreign = load_split("debian-sections").texts[:200]
    n_refused = sum(not is_answered(each) for each in classifier.predict_batch(foreign, novelty=True))
    print(f"{n_refused} of {len(foreign)} texts about something else go to a person")


if __name__ == "__main__":
    main()
