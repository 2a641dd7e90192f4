"""Looks for odd texts: empty, broken, in another language, or with what should not be in them."""

from __future__ import annotations

import html.entities
import re
from collections.abc import Callable, Sequence

import numpy as np

from token2wave.auditing.findings import AuditRows, Match
from token2wave.auditing.mojibake import find_broken
from token2wave.data.labels import is_null
from token2wave.data.values import quote
from token2wave.features.hashing import hash_tokens
from token2wave.formatting import percent

MIN_LONG, LONG_FACTOR = 2_000, 20
"""A very long text has so many characters, and so many times those of the median text."""
MAIN_FRACTION = 0.8
"""Rows of one language or script that make the others exceptions."""
MIN_LETTERS, MIN_FUNCTION_WORDS = 5, 4
MAX_NOVELTY = 0.9999
"""Of validation texts, 1 % have a novelty above 0.99; from there on it falls by e each standard deviation."""

HTML_NAMES = (
    "a abbr b big blockquote body br center code div em font form h1 h2 h3 h4 h5 h6 head hr html i img input "
    "label li link meta ol option p pre script select small span strong style sub sup table tbody td "
    "textarea th thead title tr tt u ul"
)
_TAG = re.compile(rf"</?(?:{HTML_NAMES.replace(' ', '|')})(?:\s[^<>]*|\s*/?)>|<!--", re.IGNORECASE)
_ENTITY = re.compile(r"&(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]{2,8}[0-9]{0,2});|(?<!\w)#\d{2,4};")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[a-zA-Z0-9-]{1,63}\.){1,8}[a-zA-Z]{2,24}(?![\w-])")
_DIGITS = re.compile(r"\d(?:[ -]?\d){12,18}(?![\d,-]|\.\d)")
_CARD = re.compile(r"4\d{12}(?:\d{3})?|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|6(?:011|5\d\d)\d{12}")
SECRETS = {
    "private key": ("-----BEGIN ", r"-----BEGIN (?:[A-Z]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
    "key of AWS": ("AKIA", r"\bAKIA[0-9A-Z]{16}\b"),
    "token of GitHub": ("gh", r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b"),
    "fine-grained token of GitHub": ("github_pat_", r"\bgithub_pat_\w{50,255}\b"),
    "token of GitLab": ("glpat-", r"\bglpat-[\w-]{20,64}"),
    "token of Slack": ("xox", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,255}"),
    "key of Google": ("AIza", r"\bAIza[\w-]{35}(?![\w-])"),
    "key of OpenAI or Anthropic": ("sk-", r"\bsk-(?:ant-|proj-)?(?=[\w-]{0,200}\d)[\w-]{32,255}"),
    "key of Stripe": ("_live_", r"\b[rs]k_live_[A-Za-z0-9]{20,255}"),
    "token of Hugging Face": ("hf_", r"\bhf_[A-Za-z0-9]{34}\b"),
    "token of npm": ("npm_", r"\bnpm_[A-Za-z0-9]{36}\b"),
    "token of PyPI": ("pypi-", r"\bpypi-AgEIcHlwaS5vcmc[\w-]{50,500}"),
    "JSON web token": ("eyJ", r"\beyJ[\w-]{10,2000}\.eyJ[\w-]{10,2000}\.[\w-]{10,2000}"),
    "password in an address": ("://", r"\b[a-z]{2,12}://[^\s/:@]{1,64}:[^\s/:@]{3,64}@\w"),
}
"""What each looks like: a piece that is quick to look for, and the pattern."""
_SECRETS = {secret_type: (piece, re.compile(pattern)) for secret_type, (piece, pattern) in SECRETS.items()}
_MIXED_WORD = re.compile(r"[A-Za-z][\u0400-\u04ff]|[\u0400-\u04ff][A-Za-z]")  # with Greek it is mathematics
_ASCII_WORD = re.compile(r"[A-Za-z]{3}")
SCRIPTS = """
0 - 41 Latin 5B - 61 Latin 7B - C0 Latin 250 - 370 Greek 400 Cyrillic 530 Armenian 590 Hebrew 600 Arabic 700 -
750 Arabic 780 - 900 Devanagari 980 Bengali A00 Gurmukhi A80 Gujarati B00 Odia B80 Tamil C00 Telugu
C80 Kannada D00 Malayalam D80 Sinhala E00 Thai E80 Lao F00 Tibetan 1000 Burmese 10A0 Georgian 1100 Hangul
1200 Ethiopic 13A0 - 1780 Khmer 1800 - 1E00 Latin 1F00 Greek 2000 - 3040 CJK 3130 Hangul 3190 - 3400 CJK
A000 - AC00 Hangul D7B0 - FB50 Arabic FE00 - FE70 Arabic FEFF - 20000 CJK 32000 -
"""
"""The first code point of each range, and its script; - has no letters, and CJK is Chinese or Japanese."""
_SCRIPT_STARTS = SCRIPTS.split()
_STARTS = np.array([int(start, 16) for start in _SCRIPT_STARTS[::2]])
_SCRIPTS = sorted(set(_SCRIPT_STARTS[1::2]))
_SCRIPT_OF_START = np.array([_SCRIPTS.index(name) for name in _SCRIPT_STARTS[1::2]])
FUNCTION_WORDS = {
    "English": "the of and to is that it for was with this have are not you they from what would there",
    "German": "der die und das ist nicht ein ich mit sich auf für eine auch dem wird sind aber oder wie",
    "French": "le les des et est une dans que pour pas qui au ce sur avec sont plus nous vous mais",
    "Spanish": "el los y las por con una para es lo pero más como está su del muy ya también cuando",
    "Italian": "il di che è per una non sono del della gli anche più ma nel questo alla con si ho",
    "Portuguese": "os não uma do da em com para um dos ao mais mas foi são você também pelo já isso",
    "Dutch": "het een van dat niet op te zijn voor met maar ook er aan bij naar dit wordt geen je",
    "Polish": "nie się na jest że to jak ale co tak czy od przez tylko był już dla może są które",
    "Swedish": "och att det som är på av för inte med till den har jag om men från kan var så",
    "Turkish": "bir ve bu için çok ile değil daha ama gibi olarak kadar sonra var ne mi olan her şey ben",
    "Indonesian": "yang dan di ini itu dengan untuk tidak dari pada adalah akan juga ada saya dalam bisa",
}


def find_empty(rows: AuditRows) -> list[Match]:
    """Empty texts, and words such as NULL that stand for them."""
    return _matching(rows, lambda text: ("empty" if not text.strip() else "null") if is_null(text) else None)


def find_single_characters(rows: AuditRows) -> list[Match]:
    """Texts of one character."""
    return _matching(rows, lambda text: "one character" if len(text) < 9 and len(text.strip()) == 1 else None)


def find_long(rows: AuditRows) -> list[Match]:
    """Texts far longer than the median one, the longest first."""
    lengths = np.array([len(text) for text in rows.rows.texts])
    bound = max(MIN_LONG, LONG_FACTOR * float(np.median(lengths)))
    order = np.argsort(-lengths, kind="stable")
    return [Match((row,), f"{lengths[row]:,} characters") for row in order[lengths[order] > bound].tolist()]


def find_broken_encodings(rows: AuditRows) -> list[Match]:
    """Texts whose encoding broke."""

    def broken(text: str) -> str | None:
        piece = find_broken(text)
        return None if piece is None else f"holds {quote(piece)}"

    return _matching(rows, broken)


def find_html(rows: AuditRows) -> list[Match]:
    """Tags and entities of HTML."""

    def markup(text: str) -> str | None:
        match = _TAG.search(text) if "<" in text else None
        if match is None and ";" in text:
            match = next(filter(_is_entity, _ENTITY.finditer(text)), None)
        return None if match is None else f"holds {quote(match.group()[:40])}"

    return _matching(rows, markup)


def find_secrets(rows: AuditRows) -> list[Match]:
    """Keys, tokens, passwords in addresses, and numbers of credit cards; details do not repeat them."""
    matches = []
    for row, text in enumerate(rows.rows.texts):
        secrets = {
            match.group(): secret_type
            for secret_type, (piece, pattern) in _SECRETS.items()
            if piece in text
            for match in pattern.finditer(text)
        }
        for match in _DIGITS.finditer(text):
            if text[max(match.start() - 1, 0)] not in "0123456789.,+-" and is_card_number(match.group()):
                secrets[match.group()] = "number of a credit card"
        if secrets:
            matches.append(Match((row,), ", ".join(dict.fromkeys(secrets.values())), hidden=tuple(secrets)))
    return matches


def find_emails(rows: AuditRows) -> list[Match]:
    """E-mail addresses; details do not repeat them."""
    matches = []
    for row, text in enumerate(rows.rows.texts):
        if "@" in text and (addresses := _EMAIL.findall(text)):
            matches.append(Match((row,), hidden=tuple(dict.fromkeys(addresses))))
    return matches


def find_other_languages(rows: AuditRows) -> list[Match]:
    """Texts of another script or language than most, and words that mix look-alike letters of two scripts."""
    texts = rows.rows.texts
    scripts = [_script(text) for text in texts]
    names: list[str | None] = [None if not script else f"script {script}" for script in scripts]
    languages = _languages(rows)
    if _main(names) in (None, "script Latin"):
        names = [language or name for name, language in zip(names, languages, strict=True)]
        if all(name == "script Latin" for name in names if name and name.startswith("script")):
            names = languages  # where no function word tells, nothing is known
    main = _main(names)
    matches = []
    for row, name in enumerate(names):
        if main is not None and name is not None and name != main and name != "script Latin":
            matches.append(Match((row,), f"{name}, where most texts are {main}"))
        elif not texts[row].isascii() and (mixed := _MIXED_WORD.search(texts[row])):
            matches.append(Match((row,), f"a word mixes the scripts of {mixed.group()!a}"))
    if main is None and (known := [name for name in names if name is not None]):
        counts = {name: known.count(name) for name in sorted(set(known))}
        first = sorted(counts, key=lambda name: -counts[name])[:5]
        shares = ", ".join(f"{name} {percent(counts[name] / len(known), 0)}" for name in first)
        matches.insert(0, Match((), f"several languages: {shares}"))
    return matches


def find_novel(rows: AuditRows) -> list[Match]:
    """Rows unlike all others, by models that have not seen them, the least alike first."""
    quality, texts = rows.quality, rows.rows.texts
    if quality is None:
        return []
    novelty = np.zeros(len(texts))
    for number, classifier in enumerate(quality.classifiers):
        held_out = np.flatnonzero(quality.fold == number)
        measured = classifier.novelty([texts[row] for row in held_out.tolist()])
        if measured is not None:
            novelty[held_out] = measured
    novelty[[is_null(text) for text in texts]] = 0
    order = np.argsort(-novelty, kind="stable")
    return [
        Match((row,), "nothing known" if novelty[row] == 1 else f"novelty {novelty[row]:.6f}")
        for row in order[novelty[order] > MAX_NOVELTY].tolist()
    ]


def is_card_number(digits: str) -> bool:
    """Whether digits, maybe with blanks or dashes, begin as an issuer's and pass Luhn's check."""
    number = re.sub(r"[ -]", "", digits)
    if not _CARD.fullmatch(number) or len(set(number)) < 4:
        return False
    doubled = [2 * int(digit) if i % 2 else int(digit) for i, digit in enumerate(reversed(number))]
    return sum(digit - 9 * (digit > 9) for digit in doubled) % 10 == 0


def _is_entity(match: re.Match[str]) -> bool:
    name = match[1]
    return name is None or name.startswith("#") or f"{name};" in html.entities.html5


def _matching(rows: AuditRows, describe: Callable[[str], str | None]) -> list[Match]:
    """The rows of whose text there is something to say."""
    details = ((row, describe(text)) for row, text in enumerate(rows.rows.texts))
    return [Match((row,), detail) for row, detail in details if detail is not None]


def _script(text: str) -> str:
    """The script of most letters of a text; empty if it has few letters."""
    text = text[:2000]
    if text.isascii():
        return "Latin" if _ASCII_WORD.search(text) else ""
    code_points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    scripts = _SCRIPT_OF_START[np.searchsorted(_STARTS, code_points, "right") - 1]
    counts = np.bincount(scripts, minlength=len(_SCRIPTS))
    counts[_SCRIPTS.index("-")] = 0
    return _SCRIPTS[int(counts.argmax())] if counts.max() >= MIN_LETTERS else ""


def _languages(rows: AuditRows) -> list[str | None]:
    """The language whose function words prevail in each row, where one clearly does."""
    n = len(rows.rows)
    hits = np.zeros((n, len(FUNCTION_WORDS)))
    by_language = [hash_tokens(words.split())[0] for words in FUNCTION_WORDS.values()]
    table = np.unique(np.concatenate(by_language))
    is_of_language = np.stack([np.isin(table, hashes) for hashes in by_language], axis=1)
    first = 0
    for tokens, lengths in rows.all_texts.token_chunks():
        place = np.minimum(np.searchsorted(table, tokens), len(table) - 1)
        known = np.flatnonzero(table[place] == tokens)
        text = first + np.repeat(np.arange(len(lengths)), lengths)[known]
        known, text = known[text < n], text[text < n]
        np.add.at(hits, text, is_of_language[place[known]])
        first += len(lengths)
    best = hits.argmax(axis=1)
    most = hits.max(axis=1, initial=0)
    second = np.sort(hits, axis=1)[:, -2]
    is_clear = (most >= MIN_FUNCTION_WORDS) & (most >= 2 * second)
    names: Sequence[str] = list(FUNCTION_WORDS)
    return [names[i] if clear else None for i, clear in zip(best.tolist(), is_clear.tolist(), strict=True)]


def _main(names: Sequence[str | None]) -> str | None:
    """The name that most rows with a name share; None if none prevails."""
    known = [name for name in names if name is not None]
    values, counts = np.unique(np.array(known, dtype=object).astype(str), return_counts=True)
    is_main = len(known) > 0 and counts.max() >= MAIN_FRACTION * len(known)
    return str(values[counts.argmax()]) if is_main else None
