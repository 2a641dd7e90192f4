"""Writes the small files that the documents name, with made-up rows, and trains two models on them."""

from __future__ import annotations

import csv
import gzip
import json
import random
import shutil
from pathlib import Path

import token2wave
from token2wave.data import TextDataset, TextSplit, datasets

PRAISING = ["great", "lovely", "wonderful", "sturdy", "quick", "delightful", "excellent"]
BLAMING = ["awful", "broken", "slow", "useless", "cheap", "terrible", "loud"]
THINGS = ["kettle", "lamp", "chair", "phone", "bag", "tent", "printer", "mug"]
TOPICS = {
    "sport": ["match", "goal", "club", "team", "coach", "league"],
    "economy": ["shares", "bank", "profit", "market", "tax", "trade"],
    "politics": ["vote", "minister", "law", "election", "party", "council"],
}


def write_document_files(folder: Path) -> None:
    """Write every file that a document may name."""
    folder.mkdir(exist_ok=True)
    rng = random.Random(0)
    reviews = [_review(rng) for _ in range(120)]
    news = [_news(rng, several=True) for _ in range(120)]
    topics = [_news(rng, several=False) for _ in range(120)]
    _csv(folder / "reviews.csv", reviews[:80])
    _csv(folder / "more.csv", reviews[80:])
    _csv(folder / "topics.csv", topics)
    _csv(folder / "few.csv", topics[:24])
    _csv(folder / "news.csv", [(text, "|".join(labels)) for text, labels in news if labels])
    for name, rows in (("news.jsonl", news[:80]), ("more.jsonl", news[80:])):
        lines = [json.dumps({"text": text, "label": labels}) + "\n" for text, labels in rows]
        (folder / name).write_text("".join(lines))
    pairs = [(f"{text} today", f"again {other}") for text, _ in reviews[:9] for other, _ in reviews[:9]] * 2
    same = ["same" if a.split()[:-1] == b.split()[1:] else "other" for a, b in pairs]
    for name, columns, labels in (
        ("questions.csv", "question1,question2", same),
        ("new.csv", "question1,question2", same),
        ("rated.csv", "text,text_pair", [str(i % 5 + (label == "same")) for i, label in enumerate(same)]),
    ):
        with (folder / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*columns.split(","), "label"])
            writer.writerows([*pair, label] for pair, label in zip(pairs, labels, strict=True))
    for name, step in (("graded.csv", 1), ("scored.csv", 0.25)):
        rows = [
            (text, str(step * (1 + i % 4 + (label == "good")))) for i, (text, label) in enumerate(reviews)
        ]
        _csv(folder / name, rows)
    for name, rows in (("train.txt", topics[:80]), ("test.txt", topics[80:])):
        _fasttext(folder / name, [(text, [label]) for text, label in rows])
    _fasttext(folder / "news.txt", news)
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text, _ in reviews[:5]))
    (folder / "run.toml").write_text(
        'data = "reviews.csv"\nout = "reviews.safetensors"\nsettings.network.width = 16\n'
    )
    (folder / "crawl").mkdir()
    for number in range(2):
        lines = [json.dumps(dict(zip(("text", "label"), _review(rng), strict=True))) for _ in range(600)]
        (folder / "crawl" / f"part-{number}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "pages").mkdir()
    for number in range(2):
        pages = [{"url": f"https://example.org/{i}", "text": _review(rng)[0]} for i in range(50)]
        lines = [json.dumps({**page, "views": str(len(page["text"]))}) + "\n" for page in pages]
        (folder / "pages" / f"part-{number}.jsonl").write_text("".join(lines))
    for name, rows in (("reviews", reviews), ("news", topics)):
        texts, labels = map(list, zip(*rows, strict=True))
        data = TextDataset(name, TextSplit(texts, labels, name))
        token2wave.train(data, out=folder / f"{name}.safetensors", preset="fast", epochs=1)


def write_small_corpus(folder: Path) -> None:
    """Write the first rows and every sixth of the others of the corpora that come with the package.

    A fold of an audit has more than 1,000 rows then, for which training needs no folds of its own.
    """
    shutil.copytree(datasets._BUILT_IN, folder)
    for path in folder.rglob("*.jsonl.gz"):
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            rows = stream.readlines()
        with gzip.open(path, "wt", encoding="utf-8") as stream:
            stream.writelines(rows[:600] + rows[600::6])


def _review(rng: random.Random) -> tuple[str, str]:
    label = rng.choice(("good", "bad"))
    words = PRAISING if label == "good" else BLAMING
    return f"the {rng.choice(THINGS)} feels {rng.choice(words)} and {rng.choice(words)}", label


def _news(rng: random.Random, several: bool) -> tuple[str, list[str]] | tuple[str, str]:
    labels = rng.sample(sorted(TOPICS), rng.randint(0, 2) if several else 1)
    words = [rng.choice(TOPICS[label]) for label in labels for _ in range(3)]
    text = " ".join(["today", *words, rng.choice(("in the north", "in the south"))])
    return text, labels if several else labels[0]


def _csv(path: Path, rows: list[tuple[str, str]]) -> None:
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))


def _fasttext(path: Path, rows: list[tuple[str, list[str]]]) -> None:
    path.write_text(
        "".join("".join(f"__label__{label} " for label in labels) + text + "\n" for text, labels in rows)
    )
