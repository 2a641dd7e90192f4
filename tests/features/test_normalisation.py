"""Texts that look the same have the same features, in numpy, the core, the slow twin and the page."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slow_text
from hypothesis import example, given, settings
from hypothesis import strategies as st

import token2wave
from token2wave.core import load_core
from token2wave.features import WordConfig, WordFeatures, normalisation
from token2wave.features.hashing import hash_tokens
from token2wave.features.normalisation import N_CODE_POINTS, REMOVED, unicode_table
from token2wave.features.text import LETTER, SEPARATOR, NormalTexts, token_hashes, tokens_in
from token2wave.serving.page.letters import page_letter_table

PROPERTY = settings(deadline=None, max_examples=200, print_blob=True)
SEED, N_RANDOM = 20_261_130, 3_000
NODE = shutil.which("node")
PAGE = Path(token2wave.__file__).parent / "serving" / "page"
SCRIPT = f"""
import {{ readFileSync }} from "node:fs";
import {{ expandLetterTable, WordFeatures }} from {json.dumps(str(PAGE / "words.js"))};
const {{ table, texts, settings }} = JSON.parse(readFileSync(0, "utf8"));
const steps = expandLetterTable(table);
let step;
do step = steps.next(); while (!step.done);
const features = new WordFeatures(settings, new Uint32Array(0), step.value);
const answers = texts.map((text) => {{
  const tokens = features.tokenize(text);
  return {{ ...tokens, nUnknown: features.lookUp(tokens).nUnknown }};
}});
process.stdout.write(JSON.stringify(answers));
"""
SIGNS = {chr(code): chr(code) for code in range(0x3131, 0x318F)}  # single Hangul letters
NARROW_SIGNS = {
    chr(code): chr(int(unicodedata.decomposition(chr(code)).removeprefix("<narrow> "), 16))
    for code in (*range(0xFFA1, 0xFFBF), *range(0xFFC2, 0xFFDD))
    if unicodedata.decomposition(chr(code))
}
OWN_FOLDS = {"\u2019": "'", "\u0640": "", "\u0131": "i", "\u0345": "\u0345", **SIGNS, **NARROW_SIGNS}
OWN_FOLDS |= {"\u3164": "", "\uffa0": ""}  # Hangul letters without a picture
COMBINING = np.array([unicodedata.combining(chr(code)) for code in range(N_CODE_POINTS)])
SAME = {
    "Korean": ["한국어", "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165", "하\u11ab국어", "한국\u115f어"],
    "Greek": ["ὈΔΥΣΣΕΎΣ", "ὀδυσσεύς", "ὀδυσσεύσ", "\u03bf\u0313δυσσευ\u0301ς"],
    "Greek iota": ["ᾳ\u0301", "ΆΙ", "α\u0345\u0301", "α\u0301\u0345", "ᾴ"],
    "Vietnamese": ["Việt", "VIỆT", "Vie\u0302\u0323t", "Vie\u0323\u0302t", "Vi\u1ec7t"],
    "Arabic": ["الله سلام", "\ufdf2 سلام", "الله س\u0640\u0640لام", "الله \ufeb3\ufefc\ufee1"],
    "Turkish": ["istanbul ılık", "İSTANBUL ILIK", "I\u0307stanbul ilik", "i\u0307stanbul ılık"],
    "German": ["straße", "STRASSE", "STRAẞE", "ſtraße"],
    "full width": ["abc 12!", "ＡＢＣ\u3000１２！", "ａｂｃ １２！"],
    "ligatures": ["office flat", "o\ufb03ce \ufb02at", "OﬃCE ﬂat"],
    "invisible": [
        "cooperate",
        "co\u00adoperate",
        "co\u200boper\u2060ate",
        "\ufeffcooperate",
        "cooperate\u200d",
    ],
    "emoji": ["❤ 👍", "❤\ufe0f 👍", "❤\ufe0e 👍\ufe0f"],
    "apostrophes": ["don't", "don’t", "DON’T", "don\u00ad’t"],
    "kana": ["ガイド", "\uff76\uff9e\uff72\uff84\uff9e", "カ\u3099イト\u3099"],
    "marks": ["a\u0323\u0301", "a\u0301\u0323", "\u00e1\u0323", "ạ\u0301", "a\u0323\u034f\u0301"],
    "Hindi": ["क़िला", "\u0915\u093cिला"],
}
DIFFERENT = [
    ("ภาษาไทย", "ภา ษา ไทย"),
    ("한국", "한 국"),
    ("a\u0301b", "ab"),
    ("straße", "strase"),
    ("ガ", "カ"),
    ("👍", "👎"),
    ("o'clock", "oclock"),
]
PICTURES = [
    *(range(0x300, 0x370), range(0x1100, 0x1200), range(0xAC00, 0xAC40), range(0xE01, 0xE4F)),
    *(range(0x600, 0x6FF), range(0xFB00, 0xFE00), range(0xFE00, 0x10000), range(0x1E00, 0x2000)),
    *(range(0x2000, 0x2200), range(0x3040, 0x3100), range(0x1D15E, 0x1D1AF), range(0xE0000, 0xE0200)),
    *(range(0xD800, 0xE000), range(0x80), range(0x110000)),
]


@cache
def pools_of_code_points() -> list[Sequence[int]]:
    """What normal forms change: marks, jamo, other forms, what joins and what is left out."""
    table = unicode_table()
    firsts = (table.composition_pairs >> np.uint64(32)).tolist()
    seconds = (table.composition_pairs & np.uint64(0xFFFFFFFF)).tolist()
    special = [np.flatnonzero(table.marks).tolist(), table.expanded.tolist(), firsts, seconds]
    return [
        *special,
        *PICTURES,
        [ord(c) for c in " '’\u0640\u0131I\u0130\u0307\u0345\u03b9\u03c2"],
    ]


def random_texts(seed: int, n: int) -> list[str]:
    """Texts of some of these code points."""
    draw, pools = random.Random(seed), pools_of_code_points()

    def text() -> str:
        some = draw.sample(pools, draw.randint(1, 4))
        return "".join(chr(draw.choice(draw.choice(some))) for _ in range(draw.randrange(25)))

    return [text() for _ in range(n)]


def normal(text: str) -> str:
    return "".join(map(chr, NormalTexts.of([text]).code_points[:-1].tolist()))


def variants(text: str) -> Iterator[str]:
    """Other forms of a text; Python changes the case of letters one by one, so it needs them composed."""
    composed = unicodedata.normalize("NFC", text)
    for changed in (text, composed.upper(), composed.lower(), composed.casefold()):
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            yield unicodedata.normalize(form, changed)


@pytest.fixture(params=["native", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "numpy":
        monkeypatch.setenv("TOKEN2WAVE_NATIVE", "0")
    elif load_core() is None:
        pytest.skip("the native core is not built")


@pytest.mark.parametrize("name", SAME)
@pytest.mark.usefixtures("way")
def test_texts_that_look_the_same_have_the_same_features(name: str) -> None:
    first, *others = SAME[name]
    texts = [*others, *(form for text in SAME[name] for form in variants(text))]
    features = WordFeatures.fit([first], WordConfig(min_count=1))
    expected = features([first]).ids.tolist()
    assert expected
    for text in texts:
        assert features([text]).ids.tolist() == expected, ascii(text)


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
@pytest.mark.usefixtures("way")
def test_texts_that_look_different_differ(first: str, second: str) -> None:
    hashed = [hash_tokens([text])[0].tolist() for text in (first, second)]
    assert hashed[0] != hashed[1]


@PROPERTY
@given(st.integers(0, 2**32).map(lambda seed: random_texts(seed, 1)[0]) | st.text(max_size=20))
@example("i\u0307\u0307")
@example("\u0345\u0301\u034f\u0323")
def test_the_normal_form_is_normal(text: str) -> None:
    assert normal(normal(text)) == normal(text)


def test_the_normal_form_of_every_code_point_is_normal() -> None:
    texts = [chr(code) for code in range(N_CODE_POINTS)]
    forms = "\n".join(texts)
    once = normal(forms)
    assert normal(once) == once


@cache
def nfkc_casefold(character: str) -> str:
    """The property of this name, by Python's own Unicode; U+0345 stays."""
    if character in OWN_FOLDS:
        return OWN_FOLDS[character]
    folded, before = character, ""
    while folded != before:
        before, folded = folded, unicodedata.normalize("NFKC", folded).casefold()
        folded = "".join(c for c in unicodedata.normalize("NFKC", folded) if c not in left_out())
    return "".join(OWN_FOLDS.get(c, c) for c in folded)


@cache
def left_out() -> frozenset[str]:
    return frozenset(map(chr, np.flatnonzero(unicode_table().marks == REMOVED).tolist()))


@cache
def dot_above_i() -> re.Pattern[str]:
    """Between i and the dot stand marks of smaller classes that do not join i."""
    marks = [chr(code) for code in np.flatnonzero((COMBINING > 0) & (COMBINING < 230)).tolist()]
    between = "".join(mark for mark in marks if len(unicodedata.normalize("NFC", "i" + mark)) == 2)
    return re.compile(f"(i[{between}]*)\u0307+")


def by_the_standard(text: str) -> str:
    """The normal form by Python's own Unicode."""
    folded = "".join(map(nfkc_casefold, unicodedata.normalize("NFD", text)))
    ordered = unicodedata.normalize("NFD", folded).replace("\u0345", "\u03b9")
    return unicodedata.normalize("NFC", dot_above_i().sub(r"\1", ordered))


def test_the_normal_form_is_that_of_the_standard() -> None:
    """For code points that both versions of Unicode know."""
    classes, both = unicode_table().classes, set()
    for code in range(N_CODE_POINTS):
        category = unicodedata.category(chr(code))
        is_old = classes[code] != SEPARATOR or category[0] in "ZC"
        if category != "Cn" and is_old:
            both.add(chr(code))
    assert len(both) > 250_000
    print("seed", SEED)
    texts = ["".join(c for c in text if c in both and c != "\n") for text in random_texts(SEED, N_RANDOM)]
    texts += sorted(both - {"\n"})
    normalised = normal("\n".join(f"a{text}" for text in texts)).split("\n")  # a, or it would join the blank
    for text, form in zip(texts, normalised, strict=True):
        assert ascii(form) == ascii(by_the_standard(f"a{text}")), ascii(text)


@pytest.mark.parametrize("seed", [SEED + 1, SEED + 2])
def test_the_core_numpy_and_the_slow_twin_agree(seed: int) -> None:
    print("seed", seed)
    texts = random_texts(seed, N_RANDOM)
    hashes, offsets = token_hashes(texts)
    native, counts = hash_tokens(texts)
    assert native.tolist() == hashes.tolist()
    assert counts.tolist() == np.diff(offsets).tolist()
    for text, first, end in zip(texts, offsets, offsets[1:], strict=False):
        assert slow_text.hashes(text) == hashes[first:end].tolist(), ascii(text)


def page_tokens(texts: list[str], **sizes: int) -> list[dict[str, Any]]:
    """Tokens by the page's program."""
    table = page_letter_table(WordFeatures(WordConfig(**sizes), np.zeros(0, np.uint32)))
    call = json.dumps({"table": table, "texts": texts, "settings": sizes})
    command = [str(NODE), "--input-type=module", "-e", SCRIPT]
    run = subprocess.run(command, input=call, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    answers: list[dict[str, Any]] = json.loads(run.stdout)
    return answers


def n_features(text: str, sizes: dict[str, int]) -> int:
    codes = slow_text.hashes(text)
    longest = max(sizes.values())
    return sum(len(slow_text.ngrams(codes, n, sizes["ngrams"])) for n in range(1, longest + 1))


def units(text: str, places: np.ndarray) -> list[int]:
    """Code points as places in UTF-16."""
    return [len(text[:place].encode("utf-16-le", "surrogatepass")) // 2 for place in places.tolist()]


@pytest.mark.skipif(NODE is None, reason="node, which runs the page's program, is not installed")
@pytest.mark.parametrize("sizes", [{"ngrams": 2, "unspaced_ngrams": 4}, {"ngrams": 3, "unspaced_ngrams": 1}])
def test_the_page_agrees(sizes: dict[str, int]) -> None:
    print("seed", SEED)
    texts = [*random_texts(SEED, N_RANDOM), *(text for same in SAME.values() for text in same)]
    texts = [text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass") for text in texts]
    for text, answer in zip(texts, page_tokens(texts, **sizes), strict=True):
        tokens = tokens_in(text)
        halves = [half for code in tokens.codes.tolist() for half in (code >> 32, code & 0xFFFFFFFF)]
        assert answer["keys"] == halves, ascii(text)
        assert answer["starts"] == units(text, tokens.starts), ascii(text)
        assert answer["ends"] == units(text, tokens.ends), ascii(text)
        assert answer["nUnknown"] == n_features(text, sizes), ascii(text)


HOSTILE = (
    "\u0301",
    "\u0323\u0301",
    "a\u0323\u0301\u0345",
    "\u200b",
    "\u1100",
    "\u1161",
    "\ufdfa",
    "i\u0307",
    "ก",
)


class Counting(list[int]):
    """Combining classes that count how often they are asked."""

    asked = 0

    def __getitem__(self, place: Any) -> Any:
        Counting.asked += 1
        return super().__getitem__(place)


COUNTING = Counting(unicode_table().combining.tolist())


@pytest.mark.parametrize("letters", HOSTILE, ids=ascii)
def test_long_runs_need_linear_work(letters: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = unicode_table()._replace(combining=COUNTING)  # type: ignore[arg-type]
    monkeypatch.setattr(normalisation, "unicode_table", lambda: counting)
    asked = []
    for times in (1_000, 4_000):
        normalisation._normalise_segment.cache_clear()
        Counting.asked = 0
        normal(letters * times)
        asked.append(Counting.asked)
    assert asked[1] <= 4 * asked[0] + 8


@pytest.mark.parametrize("letters", HOSTILE, ids=ascii)
def test_long_runs_are_alike_in_the_core(letters: str) -> None:
    text = "x" + letters * (20_000 // len(letters)) + " \u0301"
    native, counts = hash_tokens([text, "é"])
    hashes, offsets = token_hashes([text, "é"])
    assert native.tolist() == hashes.tolist()
    assert counts.tolist() == np.diff(offsets).tolist()


@pytest.mark.skipif(NODE is None, reason="node, which runs the page's program, is not installed")
@pytest.mark.skipif(load_core() is None, reason="numpy takes minutes for them")
def test_a_million_code_points_are_alike_in_the_core_and_the_page() -> None:
    """Quadratic work would not end before the process is stopped."""
    texts = [
        "x" + letters * (1_000_000 // len(letters)) for letters in HOSTILE if letters not in ("\ufdfa", "ก")
    ]
    for text, answer in zip(texts, page_tokens(texts), strict=True):
        codes = hash_tokens([text])[0].tolist()
        assert answer["keys"] == [half for code in codes for half in (code >> 32, code & 0xFFFFFFFF)]


@PROPERTY
@given(st.integers(0, 2**32).map(lambda seed: random_texts(seed, 1)[0]))
@example("½ a\u0301b \u200bc\u0323\u200bd")
def test_tokens_point_into_the_text(text: str) -> None:
    """Each token is one of those of the text that it points to."""
    tokens = tokens_in(text)
    assert np.all(np.diff(tokens.starts) >= 0)
    assert np.all(np.diff(tokens.ends) >= 0)
    assert np.all(tokens.starts < tokens.ends)
    assert not len(tokens.ends) or tokens.ends[-1] <= len(text)
    bit = np.uint64(1)
    for code, start, end in zip(tokens.codes, tokens.starts, tokens.ends, strict=True):
        alone = token_hashes([text[start:end]])[0] & ~bit
        if len(normal(text[start:end])) < 64:  # a longer word is cut
            assert code & ~bit in alone, (ascii(text), start, end)


def test_spans_by_hand() -> None:
    text = "e\u0301a ½\u200b \u1112\u1161\u11abn ﬁx\u00ad ก\u0e33"
    tokens = tokens_in(text)
    spans = [text[start:end] for start, end in zip(tokens.starts, tokens.ends, strict=True)]
    half, am = "½\u200b", "\u0e33"
    assert spans == ["e\u0301a", half, half, half, "\u1112\u1161\u11abn", "ﬁx\u00ad", "ก", am, am]


@pytest.mark.usefixtures("way")
def test_blanks_between_letters_tell_and_only_letters_make_long_ngrams() -> None:
    features = WordFeatures(WordConfig(bits=20), np.arange(1 << 20, dtype=np.uint32))  # all have a row
    thai, apart = "ภาษาไทย", "ภ า ษ า ไ ท ย"
    counts = [
        len(features([text]).ids)
        for text in (thai, apart, "a b c d e f g", "中文中文中文中", "한 국 어 한 국 어 한")
    ]
    assert counts == [7 + 6 + 5 + 4, *[7 + 6] * 4]
    joined, parted = (features([text]).ids[:13] for text in (thai, apart))
    assert joined[:7].tolist() == parted[:7].tolist()  # the letters
    assert not set(joined[7:].tolist()) & set(parted[7:].tolist())
    mixed = features(["a ภาษa"]).ids  # 5 tokens
    assert len(mixed) == 5 + 4 + 1
    assert len(features(["ภ\u200bา\u00adษา"]).ids) == 4 + 3 + 2 + 1
    plain = WordFeatures(WordConfig(bits=20, unspaced_ngrams=1), features.buckets)
    assert len(plain([thai]).ids) == 7 + 6


def test_letters_of_unspaced_scripts_have_the_class_letter() -> None:
    classes = unicode_table().classes
    for text in ("ภาษาไทย", "ພາສາລາວ", "ភាសាខ្មែរ", "မြန်မာ", "བོད་ཡིག"):
        assert all(classes[ord(c)] == LETTER for c in text), text
    assert not any(classes[ord(c)] == LETTER for c in "aé中カ한हिα1!👍")
