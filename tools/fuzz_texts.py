"""Texts that tokenisers stumble over, written down so that a text of millions of characters stays short.

A text is a list of pieces ``[characters, times]``. The characters are escaped as in a Python string, so
that two lone surrogates side by side do not become one code point on their way through a file.
"""

from __future__ import annotations

from random import Random

Text = list[list[str | int]]

WORDS = (
    "good",
    "bad",
    "Film",
    "don't",
    "It’s",
    "3.5",
    "x-ray",
    "a",
    "I",
    "Straße",
    "ÉTÉ",
    "中文",
    "한글",
    "한",
    "ภาษา",
)
ODD = (
    "aAzZ09_ \t\n\r\0\v\f\x1c'’‘ʼ＇.,!?-。、"
    "\ud800\udbff\udc00\udfff"  # lone surrogates
    "👍🏽👩\u200d💻🇩🇪\ufe0f"  # skin tone, joiner, flag, variant
    "éÉe\u0301\u0308\u0489İıẞßǅΣσςﬀ"  # combining marks, letters whose lower case is odd, a ligature
    "中文カタひら한글ᄒ"
    "ภาษาไทยລາວខ្មែរမြန်མ"
    "עבריתالعربية\u200f\u202e\u2066"
    "\u00ad\u00a0\u0085\u2028\u2029\ufeff\ufffd\uffff\U0010ffff"
)
RUNS = (
    "x",
    "é",
    "ß",
    "İ",
    "ǅ",
    "Ω",
    "字",
    "ก",
    "𝒳",
    "\ud800",
    "\0",
    "👍",
    "\u0301",
    "'",
    "’",
    "x'",
    "_",
    " ",
    ".",
    "한",
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
)
NUMBERS_OF_WORDS = (63, 64, 65, 127, 128, 129, 254, 255, 256, 257, 258, 511, 512, 513, 1030)
SEPARATORS = " \n\t\0\u2028\u00a0\u200b\u3000"


def text_of(pieces: Text) -> str:
    """Put a text together.

    Args:
        pieces: its characters, escaped, and how often each piece stands there.
    """
    return "".join(
        str(piece).encode("ascii").decode("unicode_escape") * int(times) for piece, times in pieces
    )


def piece(characters: str, times: int = 1) -> list[str | int]:
    """Write a piece of a text down."""
    return [characters.encode("unicode_escape").decode("ascii"), times]


def random_text(chance: Random, longest: int = 1 << 14) -> Text:
    """Draw a text.

    Args:
        chance: what draws.
        longest: how many characters it has at most, to within a piece.
    """
    kind = chance.randrange(10)
    if kind == 0:
        return (
            []
            if chance.random() < 0.5
            else [piece("".join(chance.choices(SEPARATORS, k=chance.randint(1, 9))))]
        )
    if kind == 1:  # as many words as the core reads at once, and about that
        n_words = min(chance.choice(NUMBERS_OF_WORDS), longest // 4)
        return [piece(chance.choice(PASSAGES), n_words), *_words(chance, 3)]
    if kind == 2:
        return [piece("".join(_code_points(chance, chance.randint(1, 60))))]
    return _words(chance, min(chance.choice((1, 2, 3, 8, 40)), 1 + longest // 40))


def very_long_text(chance: Random) -> Text:
    """Draw a text of some millions of characters."""
    characters = chance.choice((*PASSAGES, *RUNS))
    times = chance.randint(1_000_000, 4_000_000) // len(characters)
    return [*random_text(chance, 100), piece(characters, times), *random_text(chance, 100)]


def _words(chance: Random, most: int) -> Text:
    """Some words and what looks like them, mostly with blanks between."""
    found = []
    blank = chance.choice((" ", " ", " ", "", "'", "’", "\0", "\u200d"))
    for _ in range(chance.randint(1, most)):
        kind = chance.randrange(6)
        if kind == 0:
            found.append(piece(chance.choice(RUNS), chance.choice(LENGTHS)))
        elif kind == 1:
            found.append(piece("".join(chance.choices(ODD, k=chance.randint(1, 6)))))
        elif kind == 2:
            found.append(piece("".join(_code_points(chance, chance.randint(1, 4)))))
        elif kind == 3:
            word = chance.choice(WORDS)
            place = chance.randint(0, len(word))
            found.append(
                piece(word[:place] + chance.choice(("'", "''", "’", ".", "\u0301", "")) + word[place:])
            )
        else:
            found.append(piece(chance.choice(WORDS)))
        found.append(piece(blank))
    return found[:-1] if chance.random() < 0.5 else found


def _code_points(chance: Random, n: int) -> list[str]:
    """Code points of one plane, or of all, the unassigned and the surrogates too."""
    first, last = chance.choice(((0, 0x7F), (0, 0x7FF), (0, 0xFFFF), (0xD800, 0xDFFF), (0, 0x10FFFF)))
    return [chr(chance.randint(first, last)) for _ in range(n)]
