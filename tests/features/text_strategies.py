"""Texts that tokenisers stumble over."""

from __future__ import annotations

from hypothesis import strategies as st

ODD = (
    "aAzZ09_ \t\n\r\0'’‘.,!?-。、"
    "\ud800\udbff\udc00\udfff"  # lone surrogates
    "👍🏽👩\u200d💻🇩🇪"  # skin tone, joiner, flag
    "éÉe\u0301\u0308\u0323\u0345\u034fİıi\u0307ẞßǅΣσς"  # combining marks, letters whose folding is odd
    "中文カタひら한글가\u1112\u1161\u11ab\u11a8"
    "ﬁ½ＡＢＣ\ufb01\ufdfa\ufefb\u0640\ufe0f\u200b"  # compatibility forms, tatweel, invisible characters
    "ภาษาไทยລາວខ្មែរမြန်མ"
    "עבריתالعربية\u200f\u202e"
    "\u00ad\u00a0\u2028\ufeff\ufffd\uffff\U0010ffff"
)
words = st.sampled_from(
    ["it's", "It’s", "don''t", "'tis", "dogs'", "x" * 63, "x" * 64, "x" * 65, "ab'" * 50, "Ωmega" * 40]
)
characters = st.one_of(
    st.sampled_from(ODD),
    st.characters(),
    st.integers(0, 0x10FFFF).map(chr),  # every code point, the unassigned and surrogates too
)
texts = st.one_of(
    st.text(characters, max_size=40),
    st.lists(st.one_of(words, characters, st.just(" ")), max_size=12).map("".join),
    st.text(st.sampled_from(" \n\t\0\u2028\u00a0"), max_size=5),  # separators alone
)
