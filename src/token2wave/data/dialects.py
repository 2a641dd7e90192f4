"""Finds how a file of lines is written by looking at its beginning: encoding, delimiter, quoting, header."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from token2wave.data.lines import BROKEN_STREAM, decompress, open_binary, require_text, wrong_encoding
from token2wave.data.rows import JSON_FORMATS, SEPARATORS, WORKBOOKS, Dialect, Segment
from token2wave.data.values import split_names
from token2wave.data.workbooks import SheetReader, describe_sheets
from token2wave.errors import DataError
from token2wave.options import TextOptions

LOOK_ROWS = 1000  # of a workbook
LOOK_BYTES = 1 << 17  # also the longest field that csv reads by default
READ_BYTES = 1 << 13
MIN_BROKEN = 10  # fewer bytes that are not UTF-8 are damage, unless they may be cp1252
MAX_WESTERN_SHARE = 0.3  # of letters that are not ASCII, in languages that cp1252 is for
MIN_FIT, BROKEN_FIT = 0.9, 0.95
COLUMNS = ("text_column", "label_column", "weight_column", "group_column")
SURE_DELIMITERS, UNSURE_DELIMITERS = ",;\t|\x01", "^: "  # the latter only where the header says so
USUAL_QUOTING = {".csv": "auto", ".tsv": "none"}
QUOTING_WORDS = {
    "auto": "with quoted fields",
    "none": "without quotes",
    "single": "with single quotes",
    "standard": "with quoted fields",
    "backslash": "with backslashes before quotes",
    "escapes": "with backslash escapes",
}
DELIMITER_WORDS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "blank"}
_NOT_WESTERN = re.compile(rb"[\x81\x8d\x8f\x90\x9d\xfe\xff]")
_BROKEN, _FOREIGN = re.compile("[\udc80-\udcff]"), re.compile("[^\x00-\x7f\udc80-\udcff]")
_COMMON_NAME = re.compile(  # of a column
    "texts?|labels?|id|index|name|title|subject|body|content|message|sentence|comment|review|tweet|post|question|"
    "answer|query|description|document|class|category|topic|intent|target|tags?|type|sentiment|rating|stars|"
    "score|polarity|date|author|user|url|language|lang|spam"
)
_LETTER, _NUMBER = re.compile("[A-Za-z]"), re.compile(r"\s*[-+]?\d+([.,]\d+)?\s*")
_DUMP = re.compile(r"\s*(-- |/\*|INSERT INTO |CREATE TABLE |COPY \S+ \(|BEGIN;|SET )", re.IGNORECASE)

_QUOTED = re.compile(r'"(?:[^"]|"")*"', re.DOTALL)
_QUOTED_START = re.compile(r'(?:^|[,;\t|])"')
_ESCAPED_QUOTE = re.compile(r'\\"[^",;\t|\r\n]')
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "f": "\f", "v": "\v", "N": "\\\\N"}

MISSING = "\\N"
BACKSLASHES = ("backslash", "escapes")
Rows = list[list[str]]
Sample = dict[str, list[Any]]
"""Values of each column in the first rows."""


def find_dialect(segment: Segment, options: TextOptions) -> Dialect:
    """Find how a file of lines is written; what the options name is taken as it is.

    Raises:
        DataError: the file cannot be read, or holds no lines of text.
        MissingExtraError: a package for the compression is not installed.
    """
    return inspect_beginning(segment, options)[0]


def inspect_beginning(segment: Segment, options: TextOptions) -> tuple[Dialect, Sample]:
    """Return the dialect of a file of lines, and of a table the values in its first rows."""
    path = Path(segment.path)
    if segment.compression in WORKBOOKS:
        with open_binary(path) as raw:
            rows = list(itertools.islice(filter(None, SheetReader(path, raw)), LOOK_ROWS))
        values = [[cell if isinstance(cell, str) else "" for cell in row] for row in rows]
        has_header = options.header
        if has_header is None:
            has_header = not values or _is_header(values, _names(options))
        dialect = Dialect(",", quoting="standard", has_header=has_header)
        return dialect, _sample(values, dialect)
    with open_binary(path) as raw:
        beginning, is_whole = _read_beginning(segment, raw)
    require_text(segment, beginning)
    encoding = options.encoding or find_encoding(segment, [beginning], is_whole)
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    try:
        text = decoder.decode(beginning, is_whole).removeprefix("\ufeff")
    except UnicodeError as error:
        raise wrong_encoding(segment.path, error) from error
    line_end = "\r" if "\n" not in text and "\r" in text.rstrip("\r") else "\n"
    dialect = Dialect(encoding=encoding, line_end=line_end)
    if segment.format in JSON_FORMATS:
        return dialect, _json_sample(text.replace(line_end, "\n"), is_whole)
    if segment.format not in SEPARATORS:
        return dialect, {}
    if _DUMP.match(text):
        raise DataError(
            "expected a table, found SQL",
            location=segment.path,
            hint="export the rows as CSV, for example in psql with: \\copy reviews to 'a.csv' csv header",
        )
    return _find_table(text.replace(line_end, "\n"), is_whole, segment.format, dialect, options)


def split_fields(lines: Iterable[str], delimiter: str, quoting: str) -> Any:
    r"""Return a ``csv.reader`` over lines; with backslashes, the value ``\N`` is a missing one."""
    options: dict[str, Any] = {"quotechar": "'"} if quoting == "single" else {}
    if quoting in BACKSLASHES:
        lines, options = map(_unescape, lines), {"escapechar": "\\"}
    if quoting in ("none", "escapes"):
        options["quoting"] = csv.QUOTE_NONE
    return csv.reader(lines, delimiter=delimiter, strict=True, **options)


def describe_dialect(segment: Segment, options: TextOptions) -> list[str]:
    """Return a note that says what was found by looking, if it is not what one expects of the format."""
    if segment.compression in WORKBOOKS:
        return describe_sheets(Path(segment.path))
    dialect, ways, others = segment.dialect, [], []
    if options.delimiter is None and dialect.delimiter not in ("", SEPARATORS.get(segment.format)):
        ways.append(f"{DELIMITER_WORDS.get(dialect.delimiter, repr(dialect.delimiter))}-separated")
    if options.encoding is None and dialect.encoding != "utf-8":
        ways.append(dialect.encoding)
    if options.quoting == "auto" and dialect.quoting != USUAL_QUOTING.get(segment.format, "auto"):
        others.append(QUOTING_WORDS[dialect.quoting])
    if options.header is None and not dialect.has_header:
        others.append("without a header")
    if dialect.unnamed:
        others.append(f"with a {dialect.unnamed} column that has no name")
    if dialect.line_end == "\r":
        others.append("with carriage returns as line ends")
    if not ways and not others:
        return []
    how = ", ".join([f"as {', '.join(ways)}"] * bool(ways) + others)
    return [f"{Path(segment.path).name}: read {how}"]


# ---- encoding ----


def _read_beginning(segment: Segment, raw: Any) -> tuple[bytes, bool]:
    """The first bytes, decompressed, and whether they are all."""
    beginning = b"".join(itertools.islice(_read_chunks(segment, raw), LOOK_BYTES // READ_BYTES))
    return beginning, len(beginning) < LOOK_BYTES


def _read_chunks(segment: Segment, raw: Any) -> Iterator[bytes]:
    """The bytes, decompressed; a damaged file ends where it breaks, and the reader reports it."""
    stream = decompress(segment, raw)
    with suppress(*BROKEN_STREAM):
        while chunk := stream.read(READ_BYTES):
            yield chunk


def encoding_of_file(segment: Segment) -> str:
    """Find the encoding of a file by all of its bytes; errors as for :func:`inspect_beginning`."""
    with open_binary(Path(segment.path)) as raw:
        return find_encoding(segment, _read_chunks(segment, raw), is_whole=True)


def find_encoding(segment: Segment, chunks: Iterable[bytes], is_whole: bool) -> str:
    """Find the encoding of consecutive bytes from the beginning of a file.

    Bytes that are not UTF-8 are cp1252, unless they are few among others that are, which is damage and left
    to the reader; or many among the letters, which is no Western language.

    Raises:
        DataError: it is neither UTF-8, UTF-16 nor cp1252.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    n_broken = n_foreign = n_letters = 0
    has_others = False
    for number, chunk in enumerate(itertools.chain(chunks, [b""])):
        if number == 0 and (wide := _wide_encoding(chunk)):
            return wide
        text = decoder.decode(chunk, is_whole and not chunk)
        if not text.isascii():
            n_broken += len(_BROKEN.findall(text))
            n_foreign += len(_FOREIGN.findall(text))
        n_letters += len(_LETTER.findall(text)) if n_broken else 0
        has_others = has_others or _NOT_WESTERN.search(chunk) is not None
    if n_broken <= n_foreign:
        return "utf-8"
    is_western = not has_others and n_broken <= MAX_WESTERN_SHARE * (n_broken + n_letters)
    if not is_western and n_broken < MIN_BROKEN:
        return "utf-8"
    if not is_western:
        raise DataError(
            "expected UTF-8, found another encoding that is not Western European",
            location=segment.path,
            hint="name it with --encoding, for example --encoding shift_jis (encoding='shift_jis'), "
            "gb18030 or koi8-r",
        )
    return "cp1252"


def _wide_encoding(beginning: bytes) -> str:
    """UTF-16 or UTF-32 by a byte order mark, or by the zero bytes of ASCII in UTF-16; else empty."""
    for mark, name in ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32")):
        if beginning.startswith(mark):
            return name
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = beginning[first::2], beginning[1 - first :: 2]
        if len(zeros) > 3 and zeros.count(0) > len(zeros) / 2 and others.count(0) < len(others) / 8:
            return name
    return ""


def _json_sample(text: str, is_whole: bool) -> Sample:
    """The values of each key in the first lines of JSON; the reader reports those that are none."""
    records = []
    for line in text.split("\n")[: None if is_whole else -1]:
        with suppress(ValueError, RecursionError):
            if isinstance(record := json.loads(line), dict):
                records.append(record)
    names = dict.fromkeys(itertools.chain.from_iterable(records))
    return {name: [record.get(name) for record in records] for name in names}


# ---- tables ----


class _Table(NamedTuple):
    """The beginning of a table, split in one way.

    Attributes:
        rows: without blank lines, the header included.
        fit: the fraction of rows that have as many fields as the header; less, if a row cannot be parsed.
        unnamed: see :class:`Dialect`.
    """

    delimiter: str
    quoting: str
    rows: Rows
    fit: float
    unnamed: str


def _names(options: TextOptions) -> set[str]:
    """The names of columns that the options give, in lower case."""
    names = {name for field in COLUMNS[1:] if isinstance(name := getattr(options, field, None), str)}
    names |= {*options.text_columns, *split_names(options.text_column, ())}
    return {name.lower() for name in names}


def _find_table(
    text: str, is_whole: bool, suffix: str, dialect: Dialect, options: TextOptions
) -> tuple[Dialect, Sample]:
    """Find delimiter, quoting and header of a table from its beginning."""
    lines = list(io.StringIO(text, newline="\n"))
    delimiter, n_skipped = options.delimiter, 0
    if lines and (own := re.fullmatch(r"sep=(.)\r?\n", lines[0], re.IGNORECASE)):  # Excel's
        delimiter, n_skipped = delimiter or own[1], 1
    while n_skipped < len(lines) and not lines[n_skipped].strip("\r\n"):
        n_skipped += 1
    n_comments = sum(1 for _ in itertools.takewhile(lambda line: line[0] == "#", lines[n_skipped:]))
    if n_skipped + n_comments >= len(lines):
        n_comments = 0
    names = _names(options)

    def find(first: int) -> _Table:
        return _best_table(lines[first:], is_whole, suffix, delimiter, options.quoting, names)

    table = find(n_skipped + n_comments)
    if n_comments:
        n_fields = len(table.rows[0]) if table.rows else 0
        comments = split_fields(lines[n_skipped : n_skipped + n_comments], table.delimiter, "none")
        n_skipped += sum(
            1
            for _ in itertools.takewhile(
                lambda row: len(row) != n_fields or row[0][:2] in ("# ", "##"), comments
            )
        )
        table = find(n_skipped)
    has_header = options.header
    if has_header is None:
        has_header = bool(table.unnamed) or not table.rows or _is_header(table.rows, names)
    dialect = replace(
        dialect,
        delimiter=table.delimiter,
        quoting=table.quoting,
        has_header=has_header,
        n_skipped=n_skipped,
        unnamed=table.unnamed if has_header else "",
    )
    is_cut = not is_whole and len(table.rows) < 2
    return dialect, {} if is_cut else _sample(table.rows, dialect)


def column_names(first_row: Sequence[str], dialect: Dialect) -> list[str]:
    """Return the names of the columns of a table by its first row."""
    if not dialect.has_header:
        return [str(number) for number in range(1, len(first_row) + 1)]
    first, last = (["" for _ in range(dialect.unnamed == place)] for place in ("first", "last"))
    return [*first, *first_row, *last]


def _sample(rows: Rows, dialect: Dialect) -> Sample:
    """The values of each column in the rows of a table that have all fields."""
    names = column_names(rows[0], dialect) if rows else []
    values = [row for row in rows[dialect.has_header :] if len(row) == len(names)]
    positions = {name: index for index, name in reversed(list(enumerate(names)))}
    return {name: [row[positions[name]] for row in values] for name in names}


def _best_table(
    lines: Sequence[str], is_whole: bool, suffix: str, delimiter: str | None, quoting: str, names: set[str]
) -> _Table:
    """Split the lines in the way that suits them best."""
    default, is_tsv = SEPARATORS[suffix], suffix == ".tsv"
    candidates = delimiter or "".join(dict.fromkeys([default, *SURE_DELIMITERS, *UNSURE_DELIMITERS]))
    first_quoting = ("none" if is_tsv else "auto") if quoting == "auto" else quoting

    def parse_all(quoting: str) -> list[tuple[tuple[int, bool, bool], _Table]]:
        tables = []
        for candidate in candidates:
            is_default = candidate == candidates[0]
            if not lines or not (is_default or candidate in lines[0]):
                continue
            table = _parse(lines, candidate, quoting, is_whole)
            header = [name.strip().lower() for name in table.rows[0]] if table.rows else []
            is_split, n_named = len(header) > 1, len(names.intersection(header))
            if is_default and is_split and n_named == len(names) and table.fit == 1:
                return [((n_named, True, True), table)]
            is_likely = is_split and len(table.rows) > 1 and (n_named > 0 or candidate in SURE_DELIMITERS)
            if candidate in UNSURE_DELIMITERS:
                is_likely = is_likely and table.fit == 1
            if is_default or is_likely:
                rank = is_split * n_named, is_split and table.fit == 1, is_split and table.fit >= MIN_FIT
                tables.append((rank, table))
        return tables

    tables = parse_all(first_quoting)
    if not tables:
        return _Table(candidates[0], first_quoting, [], 0.0, "")
    rank, table = max(tables, key=itemgetter(0))
    if quoting != "auto":
        return table
    for other, must_be_better in _other_quotings(table, lines):
        other_rank, candidate = max(parse_all(other), key=itemgetter(0))
        if other_rank[1] and (other_rank > rank or (other_rank == rank and not must_be_better)):
            return candidate
    return table


def _other_quotings(table: _Table, lines: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """The ways of quoting that a table may be written in, and whether each must fit better than the first."""
    escaped = {escape[1] for line in lines for escape in _ESCAPE.finditer(line)}
    has_quotes = any(_QUOTED_START.search(line) for line in lines)
    if any(MISSING in row for row in table.rows):
        yield ("backslash" if has_quotes else "escapes"), False
    is_escape = escaped & {"\t", "\n"} or ("\\" in escaped and escaped & {"t", "n"})
    if is_escape and table.delimiter == "\t" and escaped <= {*_ESCAPED, *"\\\t\n"} and not has_quotes:
        yield "escapes", False
    if table.rows and all(re.fullmatch("'.*'", name) for name in table.rows[0]):
        yield "single", False
    if table.quoting == "none" and _is_quoted(table):
        yield from (("auto", False), ("backslash", False))
    if escaped & {'"', table.delimiter}:
        is_certain = table.quoting == "auto" and any(_ESCAPED_QUOTE.search(line) for line in lines)
        yield "backslash", not is_certain


def _parse(lines: Sequence[str], delimiter: str, quoting: str, is_whole: bool) -> _Table:
    rows: Rows = []
    is_broken = False
    try:
        rows.extend(row for row in split_fields(lines, delimiter, quoting) if row)
        if not is_whole and len(rows) > 1:
            rows.pop()  # which may be cut
    except csv.Error as error:
        is_broken = is_whole or "end of data" not in str(error)
    if not rows:
        return _Table(delimiter, quoting, rows, 0.0, "")
    n_fields, body = len(rows[0]), rows[1:]
    unnamed = ""
    if body and all(len(row) == n_fields + 1 for row in body):
        first = [row[0] for row in body]
        if not any(row[-1] for row in body):
            unnamed = "last"  # each row ends in a delimiter
        elif len(body) > 1 and len(set(first)) == len(first) and all(map(str.isdecimal, first)):
            unnamed = "first"  # the names of the rows, as R writes them
    fit = sum(len(row) == n_fields for row in body) / len(body) if body and not unnamed else 1.0
    return _Table(delimiter, quoting, rows, fit * BROKEN_FIT if is_broken else fit, unnamed)


def _is_quoted(table: _Table) -> bool:
    """Whether quotes in fields, which are here still plain characters, certainly quote the fields."""
    if table.fit < 1 or all(_QUOTED.fullmatch(name) for name in table.rows[0]):
        return True
    cells = [cell for row in table.rows for cell in row if '"' in cell]
    return all(_QUOTED.fullmatch(cell) for cell in cells) and any('""' in cell[1:-1] for cell in cells)


def _is_header(rows: Rows, names: set[str]) -> bool:
    """Whether the first row names the columns. In doubt it does: no row is read as a header silently."""
    first, body = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    words = [cell.strip().lower() for cell in first]
    if not body or len(first) < 2 or any(word in names or _COMMON_NAME.fullmatch(word) for word in words):
        return True
    if first == [str(number) for number in range(len(first))]:  # as pandas writes a frame without names
        return True
    for cell, values in zip(first, map(list, zip(*body, strict=True)), strict=True):
        repeats = 2 * len({cell, *values}) <= 1 + len(values)
        if cell.strip() and ((repeats and cell in values) or all(map(_NUMBER.fullmatch, [cell, *values]))):
            return False
    return True


def _unescape(line: str) -> str:
    """Let csv see a character after a backslash as what it stands for in a database's dump."""
    return _ESCAPE.sub(lambda match: f"\\{_ESCAPED.get(match[1], match[1])}", line) if "\\" in line else line
