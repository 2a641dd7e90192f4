"""Difficult texts for the page, as JavaScript represents them."""

from __future__ import annotations

import random

from stored_models import SPELLED, WORDS

HOSTILE = [
    "",
    " \t\r\n\u2028",
    "don't ‘tis’ dogs' 'a' a''b don’t’s",
    "\ud800 good \udc00 \udfff",
    "good\0bad\x07film\ufeff\u200d\u202e\u2066",
    "İSTANBUL ẞ GOOD ﬁlm É é e\u0301 ΣΑΣ",
    "中good中👍film👍🏽 ไทย 👩\u200d💻🇩🇪 한글",
    "x" * 63 + " " + "x" * 64 + " " + "x" * 65 + " " + "X" * 200 + "'" + "x" * 70,
    "</script><script>alert(1)</script> & <b>good</b> <!-- bad",
    "\uffff\U0010ffff\U000e0001good 3.5 3,5 _good_",
    "שלום good עולם bad العربية film",
    "e\u0301 ＧＯＯＤ ba\u00add \ufb01lm \ufb01lms good\ufe0f \u200bgood\u200b",
    "ΟΔΟΣ οδος ıI\u0307İi\u0307 al\u0640good \ufefb",
    "\u1112\u1161\u11ab\u1100\u116e\u11a8 한\u11a8 \u1100 \uac00\u11a7",
    "ภาษาไทย ภ า ษา ก\u0e33 ¼½ \ufdfa … ㏂ good",
    "a\u0345\u0301\u0323\u034f\u0327\u0301 \u0301good \u0344 \U0001d15e\U0001d165\U0001d16d",
]


def random_texts(n: int, seed: int) -> list[str]:
    """Hostile texts, then random ones of words, of any code points, and of both."""
    draw = random.Random(seed)
    alphabets = [range(0x110000), range(0x3000), range(0x80), [ord(letter) for letter in "'’ a.\n\u0301"]]
    alphabets += [
        range(0xE01, 0xE4F),
        range(0x300, 0x370),
        [*range(0x1100, 0x1200), 0xAC00],
        range(0xFB00, 0x10000),
    ]

    def piece() -> str:
        if draw.random() < 0.5:
            return draw.choice([*WORDS, *SPELLED])
        return "".join(chr(draw.choice(draw.choice(alphabets))) for _ in range(draw.randrange(1, 12)))

    texts = [draw.choice(["", " "]).join(piece() for _ in range(draw.randrange(20))) for _ in range(n)]
    return [as_in_javascript(text) for text in [*HOSTILE, *texts][:n]]


def as_in_javascript(text: str) -> str:
    """The text with pairs of lone surrogates joined into characters, as in JavaScript."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def code_point(text: str, unit: int) -> int:
    """Number of code points before a UTF-16 unit."""
    return len(text.encode("utf-16-le", "surrogatepass")[: 2 * unit].decode("utf-16-le", "surrogatepass"))
