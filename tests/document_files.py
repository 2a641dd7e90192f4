"""Small files by the names that the documents use, and models of two of them; what they hold is generated."""

from __future__ import annotations

import json
import random
from pathlib import Path

import token2wave
from token2wave.data import TextDataset, TextSplit

PRAISE = ["great", "lovely", "wonderful", "sturdy", "quick", "delightful", "excellent"]
BLAME = ["awful", "broken", "slow", "useless", "cheap", "terrible", "loud"]
THINGS = ["kettle", "lamp", "chair", "phone", "bag", "tent", "printer", "mug"]
TOPICS = {
    "sport": ["match", "goal", "club", "team", "coach", "league"],
    "economy": ["shares", "bank", "profit", "market", "tax", "trade"],
    "politics": ["vote", "minister", "law", "election", "party", "council"],
}


def write_document_files(folder: Path) -> None:
    """Write every file that a document may name."""
    draw = random.Random(0)
    reviews = [_review(draw) for _ in range(120)]
    news = [_news(draw, several=True) for _ in range(120)]
    topics = [_news(draw, several=False) for _ in range(120)]
    _csv(folder / "reviews.csv", reviews[:80])
    _csv(folder / "more.csv", reviews[80:])
    _csv(folder / "topics.csv", topics)
    _csv(folder / "few.csv", topics[:24])
    _csv(folder / "news.csv", [(text, "|".join(labels)) for text, labels in news if labels])
    for name, rows in (("news.jsonl", news[:80]), ("more.jsonl", news[80:])):
        lines = [json.dumps({"text": text, "label": labels}) + "\n" for text, labels in rows]
        (folder / name).write_text("".join(lines))
    for name, rows in (("train.txt", topics[:80]), ("test.txt", topics[80:])):
        _fasttext(folder / name, [(text, [label]) for text, label in rows])
    _fasttext(folder / "news.txt", news)
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text, _ in reviews[:5]))
    (folder / "crawl").mkdir()
    for number in range(2):
        lines = [json.dumps(dict(zip(("text", "label"), _review(draw), strict=True))) for _ in range(600)]
        (folder / "crawl" / f"part-{number}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "pages").mkdir()
    for number in range(2):
        pages = [{"url": f"https://example.org/{i}", "text": _review(draw)[0]} for i in range(50)]
        lines = [json.dumps({**page, "views": str(len(page["text"]))}) + "\n" for page in pages]
        (folder / "pages" / f"part-{number}.jsonl").write_text("".join(lines))
    for name, rows in (("reviews", reviews), ("news", topics)):
        texts, labels = map(list, zip(*rows, strict=True))
        data = TextDataset(name, TextSplit(texts, labels, name))
        token2wave.train(data, out=folder / f"{name}.safetensors", preset="fast", epochs=1)


def _review(draw: random.Random) -> tuple[str, str]:
    label = draw.choice(("good", "bad"))
    words = PRAISE if label == "good" else BLAME
    return f"the {draw.choice(THINGS)} feels {draw.choice(words)} and {draw.choice(words)}", label


def _news(draw: random.Random, several: bool) -> tuple[str, list[str]] | tuple[str, str]:
    labels = draw.sample(sorted(TOPICS), draw.randint(0, 2) if several else 1)
    words = [draw.choice(TOPICS[label]) for label in labels for _ in range(3)]
    text = " ".join(["today", *words, draw.choice(("in the north", "in the south"))])
    return text, labels if several else labels[0]


def _csv(path: Path, rows: list[tuple[str, str]]) -> None:
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))


def _fasttext(path: Path, rows: list[tuple[str, list[str]]]) -> None:
    path.write_text(
        "".join("".join(f"__label__{one} " for one in labels) + text + "\n" for text, labels in rows)
    )
