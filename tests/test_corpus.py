"""The built-in corpus ``debian-sections`` and the pure functions of the script that builds it."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "src/token2wave/data/corpus/debian-sections"
SCRIPT = ROOT / "tools/build_debian_sections.py"
SPLITS = ("train", "test")


@pytest.fixture(scope="module")
def build() -> ModuleType:
    if not SCRIPT.exists():
        pytest.skip("the tools are not part of this tree")
    spec = importlib.util.spec_from_file_location("build_debian_sections", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def corpus() -> dict[str, list[dict[str, str]]]:
    return {split: read_rows(CORPUS / f"{split}.jsonl.gz") for split in SPLITS}


def read_rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def word_runs(text: str, size: int = 5) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + size]) for i in range(max(1, len(words) - size + 1))}


# --------------------------------------------------------------------------- the data


def test_size_limit() -> None:
    assert sum((CORPUS / f"{split}.jsonl.gz").stat().st_size for split in SPLITS) <= 1_500_000


@pytest.mark.parametrize("split", SPLITS)
def test_gzip_header_has_neither_time_nor_name(split: str) -> None:
    header = (CORPUS / f"{split}.jsonl.gz").read_bytes()[:10]
    assert header[:3] == b"\x1f\x8b\x08"
    assert header[3] == 0, "flags: no file name"
    assert header[4:8] == b"\0\0\0\0", "time stamp"


def test_rows_have_the_documented_keys_in_order(corpus: dict[str, list[dict[str, str]]]) -> None:
    for rows in corpus.values():
        for row in rows:
            assert list(row) == ["text", "label", "source"]
            assert all(isinstance(value, str) and value for value in row.values())


def test_sections(corpus: dict[str, list[dict[str, str]]]) -> None:
    labels = {split: {row["label"] for row in rows} for split, rows in corpus.items()}
    assert 12 <= len(labels["train"]) <= 16
    assert labels["train"] == labels["test"]
    about = json.loads((CORPUS / "README.json").read_text(encoding="utf-8"))
    assert list(about) == ["name", "label_names", "caveat"]
    assert about["name"] == "debian-sections"
    assert about["label_names"] == sorted(labels["train"])
    assert about["caveat"] is None or isinstance(about["caveat"], str)


def test_test_share(corpus: dict[str, list[dict[str, str]]]) -> None:
    train, test = len(corpus["train"]), len(corpus["test"])
    assert 0.17 <= test / (train + test) <= 0.23


def test_every_source_occurs_once(corpus: dict[str, list[dict[str, str]]]) -> None:
    sources = Counter(row["source"] for rows in corpus.values() for row in rows)
    assert [name for name, n in sources.items() if n > 1] == []


def test_no_duplicate_texts(corpus: dict[str, list[dict[str, str]]]) -> None:
    texts = Counter(" ".join(row["text"].lower().split()) for rows in corpus.values() for row in rows)
    assert [text for text, n in texts.items() if n > 1] == []


def test_texts_are_clean(corpus: dict[str, list[dict[str, str]]]) -> None:
    address = re.compile(r"https?:|\w://|\bwww\.|\bftp\.|\w@\w+\.\w|\w\.(?:com|org|net)\b", re.IGNORECASE)
    for rows in corpus.values():
        for row in rows:
            text = row["text"]
            assert text == " ".join(text.split())
            assert 60 <= len(text) <= 800
            assert not address.search(text), row["source"]


def test_no_near_duplicates_across_splits(corpus: dict[str, list[dict[str, str]]]) -> None:
    train = [word_runs(row["text"]) for row in corpus["train"]]
    where: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, runs in enumerate(train):
        for run in runs:
            where[run].append(number)
    found = []
    for row in corpus["test"]:
        runs = word_runs(row["text"])
        common = Counter(number for run in runs for number in where.get(run, ()))
        for number, n in common.items():
            if n / (len(runs) + len(train[number]) - n) >= 0.5:
                found.append((row["source"], corpus["train"][number]["source"]))
    assert found == []


def test_readme_counts_agree(corpus: dict[str, list[dict[str, str]]]) -> None:
    readme = (CORPUS / "README.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| \**(\w+)\** \| (\d+) \| (\d+) \| (\d+) \|$", readme, re.MULTILINE)
    stated = {name: tuple(map(int, numbers)) for name, *numbers in cells}
    counts = {split: Counter(row["label"] for row in rows) for split, rows in corpus.items()}
    expected = {
        label: (n, counts["test"][label], n + counts["test"][label]) for label, n in counts["train"].items()
    }
    train, test = (len(corpus[split]) for split in SPLITS)
    expected["all"] = (train, test, train + test)
    assert stated == expected


def test_split_and_order_follow_the_script(
    build: ModuleType, corpus: dict[str, list[dict[str, str]]]
) -> None:
    for split, rows in corpus.items():
        sources = [row["source"] for row in rows]
        assert {build.split_of(source) for source in sources} == {split}
        assert sources == sorted(sources, key=build.digest)


# --------------------------------------------------------------------------- the script


def test_parse_stanzas(build: ModuleType) -> None:
    text = "Package: a\nTag: x,\n y\n\n\nPackage: b\nDescription: s: t\n long\n"
    assert list(build.parse_stanzas(text)) == [
        {"Package": "a", "Tag": "x,\n y"},
        {"Package": "b", "Description": "s: t\n long"},
    ]


def test_clean_description(build: ModuleType) -> None:
    raw = "fast  editor\n It edits\n files.\n .\n Features:\n ---------\n  * small;\n  o quick\n of use"
    assert build.clean_description(raw) == "fast editor. It edits files. Features: - small; - quick of use"
    assert build.clean_description("what is it?\n A thing.") == "what is it? A thing."
    assert build.clean_description("only a synopsis") == "only a synopsis"


def test_shorten(build: ModuleType) -> None:
    text = "First sentence here. Second one, e.g. this. Third."
    assert build.shorten(text, 100) == text
    assert build.shorten(text, 46) == "First sentence here. Second one, e.g. this."
    assert build.shorten(text, 40) == "First sentence here."
    assert build.shorten("word " * 10, 12) == "word word"
    assert len(build.shorten("x" * 50, 12)) == 12


def binary(build: ModuleType, name: str, text: str, source: str = "foo", section: str = "games") -> object:
    return build.Binary(name, source, section, text)


def test_choose_binary(build: ModuleType) -> None:
    main = binary(build, "foo", "short")
    longer = binary(build, "foo-gtk", "a longer text")
    longest_dev = binary(build, "libfoo-dev", "the longest text of all of them")
    assert build.choose_binary([longest_dev, longer, main]) is main
    assert build.choose_binary([longest_dev, longer, binary(build, "foo-qt", "text")]) is longer
    assert build.choose_binary([longest_dev]) is None
    tie = [binary(build, "foo-b", "same"), binary(build, "foo-a", "size")]
    assert build.choose_binary(tie) == build.choose_binary(tie[::-1]) == tie[1]


@pytest.mark.parametrize(
    "text",
    [
        "transitional package. It can be removed.",
        "foo games (metapackage). It pulls in games.",
        "Games. This is a dummy package that is empty.",
    ],
)
def test_dummy_packages_are_never_chosen(build: ModuleType, text: str) -> None:
    assert build.choose_binary([binary(build, "foo", text)]) is None


@pytest.mark.parametrize(
    "text",
    [
        "see https://example",
        "see www.example",
        "at ftp.example",
        "mail a.b@example.invalid",
        "from Example.ORG today",
    ],
)
def test_has_address(build: ModuleType, text: str) -> None:
    assert build.has_address(text)


def test_has_no_address(build: ModuleType) -> None:
    assert not build.has_address("An HTTP and FTP client (i.e. version 2.0). Reads foo.conf on the net.")


def test_drop_near_duplicates(build: ModuleType) -> None:
    boiler = "is the plugin of a framework that does many different and useful things for everyone"
    first = build.Row(f"red {boiler}", "games", "a")
    digits = build.Row("The engine of old games, version 12 for everyone", "games", "b")
    rows = [
        first,
        digits,
        build.Row(f"Blue {boiler.upper()}", "mail", "c"),
        build.Row("The engine of old games, version 7 for everyone", "games", "d"),
        build.Row("something that has nothing to do with them at all", "mail", "e"),
    ]
    assert build.drop_near_duplicates(rows) == [first, digits, rows[3], rows[4]]
    assert build.drop_near_duplicates(rows, mask_numbers=True) == [first, digits, rows[4]]
    assert build.drop_near_duplicates(rows, limit=1.01) == rows


def test_cap_sections(build: ModuleType) -> None:
    rows = [build.Row("t", label, str(i)) for i, label in enumerate(["a", "a", "b", "a"])]
    assert build.cap_sections(rows, 2) == rows[:3]


def test_split_is_stable(build: ModuleType) -> None:
    names = [f"package-{i}" for i in range(2000)]
    assert 0.17 < sum(build.split_of(name) == "test" for name in names) / len(names) < 0.23
    known = {name: build.split_of(name) for name in ("angband", "emacs", "fonts-lato", "mutt", "vim")}
    assert known == {
        "angband": "train",
        "emacs": "test",
        "fonts-lato": "train",
        "mutt": "train",
        "vim": "train",
    }


PACKAGES = """\
Package: aaa
Section: games
Description: game of cards
Description-md5: 1

Package: aaa-data
Source: aaa (1.0)
Section: games
Description: game of cards (data)
 The data, with a very long text that is longer than the one of the game itself, yet of no use.

Package: libbbb1
Source: bbb
Section: libs
Description: library
 A shared library with a long description that nobody ever wants to see in this corpus.

Package: bbb-tools
Source: bbb
Section: sound
Description: tools for sounds
 .
  * Records what
    is heard; plays “loud” and soft pieces.

Package: ccc
Section: contrib/games
Description: game outside of main
 Another game with a long description that must not occur in the corpus at all, being elsewhere.

Package: ddd
Section: mail
Description: mail reader
 Reads mail and is described in full at the address http://example.invalid/ of its authors.

Package: eee
Section: mail
Description: too short
 Really.
"""
TRANSLATION = """\
Package: aaa
Description-md5: 1
Description-en: game of cards
 You play cards against a computer that does not cheat, or so it says.

Package: aaa
Description-md5: 2
Description-en: an older text
 It belongs to another version of the package, and so it is not taken.
"""
RELEASE = """\
-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

Origin: Debian
Suite: teststable
Version: 0.1
Codename: toy
Date: Sat, 01 Jan 2000 00:00:00 UTC
"""


def test_build_rows(build: ModuleType) -> None:
    rows = build.build_rows(PACKAGES, TRANSLATION)
    assert sorted((row.source, row.label, row.text) for row in rows) == [
        (
            "aaa",
            "games",
            "game of cards. You play cards against a computer that does not cheat, or so it says.",
        ),
        ("bbb", "sound", "tools for sounds. - Records what is heard; plays “loud” and soft pieces."),
    ]
    assert [row.source for row in rows] == sorted((row.source for row in rows), key=build.digest)


def test_output_is_reproducible(build: ModuleType, tmp_path: Path) -> None:
    build.save_index(build.Index(PACKAGES, TRANSLATION, RELEASE), tmp_path / "index")
    outputs = []
    for name in ("one", "two"):
        build.main(["--index", str(tmp_path / "index"), "--output", str(tmp_path / name)])
        outputs.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert outputs[0] == outputs[1]
    assert sorted(outputs[0]) == ["README.json", "README.md", "test.jsonl.gz", "train.jsonl.gz"]
    readme = outputs[0]["README.md"].decode()
    assert "Debian 0.1 (code name toy, suite teststable when read)" in " ".join(readme.split())
    assert "Sat, 01 Jan 2000" in " ".join(readme.split())
    rows = [row for split in SPLITS for row in read_rows(tmp_path / "one" / f"{split}.jsonl.gz")]
    assert {row["source"] for row in rows} == {"aaa", "bbb"}
    lines = b"".join(gzip.decompress(outputs[0][f"{split}.jsonl.gz"]) for split in SPLITS)
    assert "“loud”".encode() in lines
