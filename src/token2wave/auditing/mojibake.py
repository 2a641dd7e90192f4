"""Finds texts whose encoding broke: UTF-8 that was read as another encoding, and lost characters.

The idea is that of ftfy (Speer, 2019): bytes of UTF-8 that are read as cp1252 or Latin-1 give sequences that
no language writes, such as ``Ã©`` for é. Only such sequences count. A pair that clean texts have, too, such
as a capital letter before a quotation mark (``É”``), counts only where three follow one another.
"""

from __future__ import annotations

import re

_LATIN = "".join(map(chr, range(0x80, 0xC0)))
_CP1252 = bytes(b for b in range(0x80, 0xC0) if b not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)).decode("cp1252")
_CONTINUATION = f"[{re.escape(''.join(sorted({*_LATIN, *_CP1252})))}]"
_SEQUENCE = f"(?:[\xc2-\xdf]{_CONTINUATION}|[\xe0-\xef]{_CONTINUATION}{{2}}|[\xf0-\xf4]{_CONTINUATION}{{3}})"
_CP1251 = re.escape(bytes(b for b in range(0x80, 0xC0) if b != 0x98).decode("cp1251"))
_BROKEN = re.compile(
    "|".join(
        (
            "\ufffd",  # a character that was lost
            "[\x80-\x84\x86-\x9f]",  # bytes of cp1252 that were read as Latin-1: no text has these controls
            "\xe2\u20ac",  # quotation marks and dashes
            "\xe2\u201a\xac|\xe2\u201e\xa2",  # the signs of euro and trade mark
            "\xef\xbb\xbf|\xef\xbf\xbd",  # byte order mark, lost character
            "\xf0\u0178",  # most pictographs
            "\xc3[\xa0-\xaa\xac-\xba\xbc-\xbf\u2030\u2021\u0178\u0153]",  # à to ÿ, É, Ç, ß, Ü
            "\xc2[\xa0-\xbf]",  # signs such as £ and °
            f"{_SEQUENCE}{{3}}",  # scripts other than Latin
            f"(?:[\u0420\u0421][{_CP1251}]){{3}}",  # Cyrillic, read as cp1251
        )
    )
)


def find_broken(text: str) -> str | None:
    """The first characters of a text that a broken encoding has left, or None."""
    match = None if text.isascii() else _BROKEN.search(text)
    return None if match is None else match.group()
