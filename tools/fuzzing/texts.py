"""Texts that tokenizers stumble over, encoded so that a text of millions of characters stays short.

A text is a list of pieces ``[characters, times]``. Characters are escaped as in a Python string, so that two
lone surrogates side by side do not become one code point on their way through a file.
"""

from __future__ import annotations

from random import Random

Text = list[list[str | int]]

WORDS = "good bad Film don't It’s 3.5 x-ray a I Straße ÉTÉ 中文 한글 한 ภาษา ΟΔΟΣ ＧＯＯＤ ﬁlm".split()
WORDS += [
    "e\u0301te\u0301",
    "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "ภ า ษ า",
    "ba\u00add",
    "❤\ufe0f",
    "ı I\u0307",
    "س\u0640لام",
]
ODD = (
    "aAzZ09_ \t\n\r\0\v\f\x1c'’‘ʼ＇.,!?-。、"
    "\ud800\udbff\udc00\udfff"  # lone surrogates
    "👍🏽👩\u200d💻🇩🇪\ufe0f"  # skin tone, joiner, flag, variant
    "éÉe\u0301\u0308\u0489İıẞßǅΣσςﬀ"  # combining marks, letters with odd lower case, a ligature
    "\u0323\u0327\u0345\u034f\u0307ıſẛ½…ﬃＡｶ\uff9e"  # marks of other classes, what is left out, forms
    "ﷺﷲ\ufefb\ufeb3\u0640"  # Arabic presentation forms and a tatweel
    "\u200b\u2060\u180e\u3164\U000e0100"  # invisible
    "中文カタひら한글ᄒ\u1161\u11ab가\u11a8"
    "ภาษาไทยລາວខ្មែរမြန်မ"
    "עבריתالعربية\u200f\u202e\u2066"
    "\u00ad\u00a0\u0085\u2028\u2029\ufeff\ufffd\uffff\U0010ffff"
)
RUNS = (
    *"xéßİǅΩ字ก𝒳\ud800\0👍\u0301'’_ .한\u200b½ﷺ\u1100",
    "x'",
    "\u0323\u0301",
    "e\u0301",
    "\u1112\u1161\u11ab",
    "ก\u0e33",
)
LENGTHS = (2, 3, 4, 5, 31, 32, 33, 63, 64, 65, 99, 100, 101, 127, 128, 129, 192)
PASSAGES = (
    "a ",
    "a.",
    "good ",
    "x-ray, ",
    "don't ",
    "Ω ",
    ". ",
    "字",
    "é'é ",
    "unseen good bad ",
    "👩\u200d💻 ",
    "ภา ษา",
    "e\u0301 ",
    "½ ",
)
N_WORDS = (63, 64, 65, 127, 128, 129, 254, 255, 256, 257, 258, 511, 512, 513, 1030)
SEPARATORS = " \n\t\0\u2028\u00a0\u200b\u3000"


def decode_text(pieces: Text) -> str:
    """Decode a text from its pieces."""
    return "".join(
        str(piece).encode("ascii").decode("unicode_escape") * int(times) for piece, times in pieces
    )


def piece(characters: str, times: int = 1) -> list[str | int]:
    """Encode a piece of a text."""
    return [characters.encode("unicode_escape").decode("ascii"), times]


def random_text(rng: Random, longest: int = 1 << 14) -> Text:
    """Draw a text of at most about ``longest`` characters."""
    kind = rng.randrange(10)
    if kind == 0:
        return [] if rng.random() < 0.5 else [piece("".join(rng.choices(SEPARATORS, k=rng.randint(1, 9))))]
    if kind == 1:  # about as many words as the core reads in one chunk
        n_words = min(rng.choice(N_WORDS), longest // 4)
        return [piece(rng.choice(PASSAGES), n_words), *_words(rng, 3)]
    if kind == 2:
        return [piece("".join(_code_points(rng, rng.randint(1, 60))))]
    return _words(rng, min(rng.choice((1, 2, 3, 8, 40)), 1 + longest // 40))


def very_long_text(rng: Random) -> Text:
    """Draw a text of some millions of characters."""
    characters = rng.choice((*PASSAGES, *RUNS))
    times = rng.randint(1_000_000, 4_000_000) // len(characters)
    return [*random_text(rng, 100), piece(characters, times), *random_text(rng, 100)]


def _words(rng: Random, most: int) -> Text:
    """Words and strings that look like words, in most cases separated by blanks."""
    pieces = []
    blank = rng.choice((" ", " ", " ", "", "'", "’", "\0", "\u200d"))
    for _ in range(rng.randint(1, most)):
        kind = rng.randrange(6)
        if kind == 0:
            pieces.append(piece(rng.choice(RUNS), rng.choice(LENGTHS)))
        elif kind == 1:
            pieces.append(piece("".join(rng.choices(ODD, k=rng.randint(1, 6)))))
        elif kind == 2:
            pieces.append(piece("".join(_code_points(rng, rng.randint(1, 4)))))
        elif kind == 3:
            word = rng.choice(WORDS)
            middle = rng.randint(0, len(word))
            pieces.append(
                piece(word[:middle] + rng.choice(("'", "''", "’", ".", "\u0301", "")) + word[middle:])
            )
        else:
            pieces.append(piece(rng.choice(WORDS)))
        pieces.append(piece(blank))
    return pieces[:-1] if rng.random() < 0.5 else pieces


def _code_points(rng: Random, n: int) -> list[str]:
    """Code points of one range, unassigned ones and surrogates included."""
    first, last = rng.choice(((0, 0x7F), (0, 0x7FF), (0, 0xFFFF), (0xD800, 0xDFFF), (0, 0x10FFFF)))
    return [chr(rng.randint(first, last)) for _ in range(n)]
