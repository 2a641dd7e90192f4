"""Tables as programs and people write them are read right, or refused in one line with the cure."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from token2wave.data import DataOptions, read_labelled, read_stream, read_texts
from token2wave.data.columns import guess_stream_columns
from token2wave.data.dialects import LOOK_BYTES
from token2wave.data.file_segments import segments_of
from token2wave.data.reader import read_segment
from token2wave.data.rows import Segment
from token2wave.errors import ConfigError, DataError
from token2wave.options import TextOptions

ROWS = [
    ("Great lamp, really", "good"),
    ('It said "no"', "bad"),
    ("Two\nlines", "good"),
    ("Café; fine", "good"),
    ("plain", "bad"),
    ("fine", "good"),
]
SHORT = [row for row in ROWS if "\n" not in row[0]]
ESCAPED = [*ROWS[:4], ("tab\there", "bad"), ("back\\slash", "good")]


@dataclass
class Table:
    """A file, and what reading it should give.

    Attributes:
        name: of the file.
        content: its bytes.
        rows: texts and labels; None if it is refused.
        words: of the notes, or of the error; without words there are no notes.
        options: of reading.
    """

    name: str
    content: bytes
    rows: list[tuple[str, str]] | None
    words: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def written(
    rows: list[tuple[str, ...]],
    header: tuple[str, ...] | None = ("text", "label"),
    encoding: str = "utf-8",
    **how: Any,
) -> bytes:
    """Rows as Python's csv writes them."""
    stream = io.StringIO()
    writer = csv.writer(stream, **({"lineterminator": "\n"} | how))
    writer.writerows(([header] if header else []) + list(rows))
    return stream.getvalue().encode(encoding)


def lines(*rows: str, end: str = "\n") -> bytes:
    return "".join(row + end for row in rows).encode()


EXCEL = written(ROWS, delimiter=";", lineterminator="\r\n", encoding="cp1252")
RUSSIAN = [("Отличная лампа", "да"), ("Сломалась", "нет"), ("Хорошая чашка", "да"), ("Плохо", "нет")]
JAPANESE = [
    ("素晴らしいランプ", "良い"),
    ("すぐに壊れた", "悪い"),
    ("良いカップ", "良い"),
    ("ひどい", "悪い"),
]
NUMBERED = [(str(i), text, label) for i, (text, label) in enumerate(ROWS, 1)]
REVIEWS = [(str(i), text, "ann", label) for i, (text, label) in enumerate(ROWS * 3, 1)]
NAMES = {"text_column": "review", "label_column": "mood"}

PROGRAMS = {
    "Excel 365, German, CSV": Table("a.csv", EXCEL, ROWS, ("a.csv: read as semicolon-separated, cp1252",)),
    "Excel, with the line that names the delimiter": Table(
        "a.csv", b"sep=;\r\n" + EXCEL, ROWS, ("semicolon-separated",)
    ),
    "Excel 365, CSV UTF-8": Table("a.csv", written(ROWS, encoding="utf-8-sig", lineterminator="\r\n"), ROWS),
    "Excel 365, Unicode text": Table(
        "a.txt", written(ROWS, encoding="utf-16", delimiter="\t"), ROWS, ("utf-16",), {"delimiter": "tab"}
    ),
    "Excel 365, Unicode text without its delimiter": Table(
        "a.txt", written(ROWS, encoding="utf-16", delimiter="\t"), None, ("--delimiter tab",)
    ),
    "Excel 2011 for Mac": Table(
        "a.csv",
        written(SHORT, encoding="mac_roman", delimiter=";", lineterminator="\r"),
        SHORT,
        ("a.csv: read as semicolon-separated, with carriage returns as line ends",),
        {"encoding": "mac-roman"},
    ),
    "LibreOffice 7.4, semicolons": Table(
        "a.csv",
        b"text;label\nGreat lamp, really;good\n"
        b'"It said ""no""";bad\n"Two\nlines";good\n"Caf\xc3\xa9; fine";good\n'
        b"plain;bad\nfine;good\n",
        ROWS,
        ("a.csv: read as semicolon-separated",),
    ),
    "LibreOffice 7.4, tabs and UTF-16": Table(
        "a.csv",
        'text\tlabel\nGreat lamp, really\tgood\n"It said ""no"""\tbad\n"Two\nlines"\tgood\nCafé; fine\tgood\n'
        "plain\tbad\nfine\tgood\n".encode("utf-16"),
        ROWS,
        ("a.csv: read as tab-separated, utf-16",),
    ),
    "LibreOffice 7.4, single quotes": Table(
        "a.csv",
        b"'text','label'\n'Great lamp, really','good'\n'It said \"no\"','bad'\n'Two\nlines','good'\n"
        b"'Caf\xc3\xa9; fine','good'\n'plain','bad'\n'fine','good'\n",
        ROWS,
        ("a.csv: read with single quotes",),
    ),
    "R 4.2, write.csv": Table(
        "a.csv",
        b'"","text","label"\n"1","Great lamp, really","good"\n"2","It said ""no""","bad"\n"3","Two\n'
        b'lines","good"\n'
        b'"4","Caf\xc3\xa9; fine","good"\n"5","plain","bad"\n"6","fine","good"\n',
        ROWS,
    ),
    "R 4.2, write.csv2": Table(
        "a.csv",
        b'"";"review";"mood"\n"1";"Great lamp, really";"good"\n"2";"It said ""no""";"bad"\n'
        b'"3";"Two\nlines";"good"\n'
        b'"4";"Caf\xc3\xa9; fine";"good"\n"5";"plain";"bad"\n"6";"fine";"good"\n',
        ROWS,
        ("semicolon-separated", "texts are read from 'review', labels from 'mood'"),
    ),
    "R 4.2, write.csv in CP1252": Table(
        "a.csv",
        b'"text","label"\n"Great lamp, really","good"\n"It said ""no""","bad"\n"Two\nlines","good"\n'
        b'"Caf\xe9; fine","good"\n"plain","bad"\n"fine","good"\n',
        ROWS,
        ("a.csv: read as cp1252",),
    ),
    "R 4.2, write.table": Table(
        "a.txt",
        b'"text" "label"\n"1" "Great lamp, really" "good"\n"2" "It said \\"no\\"" "bad"\n"3" "Two\n'
        b'lines" "good"\n'
        b'"4" "Caf\xc3\xa9; fine" "good"\n"5" "plain" "bad"\n"6" "fine" "good"\n',
        ROWS,
        ("backslashes before quotes", "a first column that has no name"),
        {"delimiter": "space"},
    ),
    "R 4.2, write.table(sep='\\t')": Table(
        "a.tsv",
        b'"text"\t"label"\n"1"\t"Great lamp, really"\t"good"\n"2"\t"It said \\"no\\""\t"bad"\n'
        b'"3"\t"Two\nlines"\t"good"\n'
        b'"4"\t"Caf\xc3\xa9; fine"\t"good"\n"5"\t"plain"\t"bad"\n"6"\t"fine"\t"good"\n',
        ROWS,
        ("a first column that has no name",),
    ),
    "R 4.2, write.table(sep=',', qmethod='escape', col.names=FALSE)": Table(
        "a.csv",
        b'"Great lamp, really","good"\n"It said \\"no\\"","bad"\n"Two\nlines","good"\n'
        b'"Caf\xc3\xa9; fine","good"\n'
        b'"plain","bad"\n"fine","good"\n',
        ROWS,
        ("without a header", "texts are read from '1', labels from '2'"),
    ),
    "R 4.2, write.table(quote=FALSE)": Table(
        "a.tsv",
        b'text\tlabel\nGreat lamp, really\tgood\nIt said "no"\tbad\nTwo\nlines\tgood\n',
        None,
        ("row 3 (line 4)", "expected 2 fields as in the header, found 1"),
    ),
    "pandas 2, with the index": Table(
        "a.csv", written([(str(i), *row) for i, row in enumerate(ROWS)], ("", "text", "label")), ROWS
    ),
    "pandas 2, sep='|'": Table("a.csv", written(ROWS, delimiter="|"), ROWS, ("pipe-separated",)),
    "pandas 2, header=False": Table("a.csv", written(ROWS, None), ROWS, ("a.csv: read without a header",)),
    "pandas 2, columns 0 and 1": Table(
        "a.csv", written(ROWS, ("0", "1")), ROWS, ("texts are read from '0', labels from '1'",)
    ),
    "pandas 2, doublequote=False": Table(
        "a.csv",
        written(ROWS, doublequote=False, escapechar="\\"),
        ROWS,
        ("a.csv: read with backslashes before quotes",),
    ),
    "pandas 2, quoting=QUOTE_NONE": Table(
        "a.csv",
        written(SHORT, quoting=csv.QUOTE_NONE, quotechar=None, escapechar="\\"),
        SHORT,
        ("a.csv: read with backslashes before quotes",),
    ),
    "pandas 2, sep='\\t'": Table(
        "a.tsv", written(ROWS, delimiter="\t"), ROWS, ("a.tsv: read with quoted fields",)
    ),
    "pandas 2, sep='\\t', quoting=QUOTE_ALL": Table(
        "a.tsv", written(SHORT[2:], delimiter="\t", quoting=csv.QUOTE_ALL), SHORT[2:], ("with quoted fields",)
    ),
    "pandas 2, encoding='utf-32'": Table("a.csv", written(ROWS, encoding="utf-32"), ROWS, ("utf-32",)),
    "csv of Python on Windows, without newline=''": Table(
        "a.csv", written(SHORT, lineterminator="\r\r\n"), SHORT
    ),
    "MariaDB 10.11, mysql -B": Table(
        "a.tsv",
        lines(
            "text\tlabel",
            "Great lamp, really\tgood",
            'It said "no"\tbad',
            "Two\\nlines\tgood",
            "Café; fine\tgood",
            "tab\\there\tbad",
            "back\\\\slash\tgood",
        ),
        ESCAPED,
        ("a.tsv: read with backslash escapes",),
    ),
    "MariaDB 10.11, SELECT INTO OUTFILE": Table(
        "a.tsv",
        b'Great lamp, really\tgood\nIt said "no"\tbad\nTwo\\\nlines\tgood\nCaf\xc3\xa9; fine\tgood\n'
        b"tab\\\there\tbad\nback\\\\slash\tgood\n",
        ESCAPED,
        ("with backslash escapes, without a header", "texts are read from '1', labels from '2'"),
    ),
    "MariaDB 10.11, SELECT INTO OUTFILE, enclosed by quotes": Table(
        "a.csv",
        b'"Great lamp, really","good"\n"It said \\"no\\"","bad"\n"Two\\\nlines","good"\n'
        b'"Caf\xc3\xa9; fine","good"\n'
        b'"tab\there","bad"\n"back\\\\slash","good"\n',
        ESCAPED,
        ("with backslashes before quotes, without a header",),
    ),
    "MariaDB 10.11, a missing value": Table(
        "a.csv",
        b'"Great lamp, really","good"\n"plain","bad"\n"fine","bad"\n\\N,"good"\n',
        None,
        ("row 4 (line 4), column '1': the text is missing",),
    ),
    "MariaDB 10.11, mysqldump": Table(
        "a.csv",
        b"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n"
        b"INSERT INTO `reviews` VALUES ('a','b');\n",
        None,
        ("found SQL", "export the rows as CSV"),
    ),
    "PostgreSQL 15, pg_dump": Table(
        "a.sql", b"--\n-- PostgreSQL database dump\n--\n", None, ("export the rows as CSV",)
    ),
    "PostgreSQL 15, COPY": Table(
        "a.tsv",
        lines(
            "Great lamp, really\tgood",
            'It said "no"\tbad',
            "Two\\nlines\tgood",
            "Café; fine\tgood",
            "tab\\there\tbad",
            "back\\\\slash\tgood",
        ),
        ESCAPED,
        ("with backslash escapes, without a header",),
    ),
    "PostgreSQL 15, COPY with a missing label": Table(
        "a.tsv", b"text\tlabel\nplain\tgood\nfine\t\\N\n", None, ("row 2 (line 3)", "the label is missing")
    ),
    "PostgreSQL 15, COPY, csv header": Table("a.csv", written(ROWS), ROWS),
    "SQLite 3.40, .mode list": Table(
        "a.txt",
        lines("text|label", *("|".join(row) for row in SHORT)),
        SHORT,
        (),
        {"delimiter": "|"},
    ),
    "Hive": Table(
        "a.csv", lines(*("\x01".join(row) for row in SHORT)), SHORT, ("'\\x01'-separated, without a header",)
    ),
}
PEOPLE = {
    "AG News: a class, a title and a text without a header": Table(
        "a.csv",
        written(
            [("3", "News", text) for text, _ in ROWS] + [("1", "Sport", "on")],
            None,
            quoting=csv.QUOTE_ALL,
        ),
        None,
        ("the columns are '1', '2', '3'", "--text-column '3' --label-column '1'"),
    ),
    "Sentiment140: cp1252, six columns without a header": Table(
        "a.csv",
        written(
            [
                ("0" if label == "bad" else "4", str(i), "Mon", "NO", "ann", text)
                for i, (text, label) in enumerate(ROWS)
            ],
            None,
            encoding="cp1252",
            quoting=csv.QUOTE_ALL,
        ),
        [(text, "0" if label == "bad" else "4") for text, label in ROWS],
        ("read as cp1252, without a header",),
        {"text_column": "6", "label_column": "1"},
    ),
    "SMS Spam Collection: labels first": Table(
        "a.tsv",
        lines(*(f"{label}\t{text}" for text, label in SHORT)),
        SHORT,
        ("without a header", "texts are read from '2', labels from '1'"),
    ),
    "SMS Spam Collection of Kaggle: columns without names": Table(
        "a.csv",
        written(
            [(label, text, "", "", "") for text, label in ROWS], ("v1", "v2", "", "", ""), encoding="cp1252"
        ),
        ROWS,
        ("cp1252", "texts are read from 'v2', labels from 'v1'"),
    ),
    "labels that are numbers, without a header": Table(
        "a.csv",
        b"0,a bad lamp\n1,a good lamp\n0,worse\n1,nice\n",
        [("a bad lamp", "0"), ("a good lamp", "1"), ("worse", "0"), ("nice", "1")],
        ("without a header",),
    ),
    "too few rows to tell whether there is a header": Table(
        "a.csv", b"a good lamp,pos\na bad lamp,neg\n", None, ("no column 'text'", "--no-header")
    ),
    "the same with --no-header": Table(
        "a.csv",
        b"a good lamp,pos\na bad lamp,neg\n",
        [("a good lamp", "pos"), ("a bad lamp", "neg")],
        (),
        {"header": False, "text_column": "1", "label_column": "2"},
    ),
    "a header that repeats as a label, with --header": Table(
        "a.csv",
        written(ROWS, ("message", "good")),
        ROWS,
        (),
        {"header": True, "text_column": "message", "label_column": "good"},
    ),
    "a delimiter at the end of each row": Table(
        "a.csv", lines("text,label", "one,a,", "two,b,"), [("one", "a"), ("two", "b")], ("last column",)
    ),
    "a delimiter at the end of each row and the header": Table(
        "a.csv", lines("text,label,", "one,a,", "two,b,"), [("one", "a"), ("two", "b")]
    ),
    "a comma in one text without quotes": Table(
        "a.csv", lines("text,label", "one, two,a", "three,b"), None, ("found 3", "put double quotes around")
    ),
    "commas in all texts without quotes": Table(
        "a.csv",
        lines("text,label", "one, two,a", "three, four,b"),
        None,
        ("found 3", "put double quotes around"),
    ),
    "comments at the top": Table("a.csv", b"# made by hand\n# in spring, 2024\n" + written(ROWS), ROWS),
    "blank lines at the top": Table("a.csv", b"\n\r\n" + written(ROWS), ROWS),
    "tweets without a header that begin with a hash sign": Table(
        "a.csv",
        lines("#lamp is great,good", "#cup is bad,bad", "fine,good", "so so,bad", "ok,good"),
        [
            ("#lamp is great", "good"),
            ("#cup is bad", "bad"),
            ("fine", "good"),
            ("so so", "bad"),
            ("ok", "good"),
        ],
        ("without a header",),
    ),
    "names in capitals and with blanks": Table("a.csv", written(ROWS, (" Text", "LABEL ")), ROWS),
    "one name in the other case": Table("a.csv", written(ROWS, ("Review", "Mood")), ROWS, (), NAMES),
    "a misspelt name": Table(
        "a.csv",
        written(ROWS, ("review", "mood")),
        None,
        ("no column 'moode'", "did you mean 'mood'?"),
        {"text_column": "review", "label_column": "moode"},
    ),
    "a column that the file lacks": Table(
        "a.csv",
        written(ROWS),
        None,
        ("no column 'intent'", "the columns are 'text', 'label'", "--label-column label"),
        {"label_column": "intent"},
    ),
    "four columns of other names": Table(
        "a.csv",
        written(REVIEWS, ("id", "review", "user", "mood")),
        None,
        ("'id', 'review', 'user', 'mood'", "--text-column review --label-column mood"),
    ),
    "the wrong delimiter": Table("a.csv", EXCEL, None, ("--delimiter ';'",), {"delimiter": ","}),
    "two delimiters in texts": Table(
        "a.csv",
        lines("Text;Label", "a, b, c;x", "d, e, f;y"),
        [("a, b, c", "x"), ("d, e, f", "y")],
        ("semicolon",),
    ),
    "decimal commas": Table(
        "a.csv",
        lines("text;score;label", "one;3,5;a", "two;4,5;b"),
        [("one", "a"), ("two", "b")],
        ("semicolon",),
    ),
    "tabs in a file called CSV": Table("a.csv", written(ROWS, delimiter="\t"), ROWS, ("tab-separated",)),
    "commas in a file called TSV": Table("a.tsv", written(SHORT[:2]), SHORT[:2], ("comma-separated",)),
    "UTF-16 without its mark": Table("a.csv", written(ROWS, encoding="utf-16-be"), ROWS, ("utf-16-be",)),
    "UTF-16 by name without its mark": Table(
        "a.csv", written(ROWS, encoding="utf-16-le"), None, ("BOM", "utf-16-le"), {"encoding": "utf-16"}
    ),
    "KOI8-R": Table("a.csv", written(RUSSIAN, encoding="koi8-r"), None, ("another encoding", "--encoding")),
    "KOI8-R by name": Table(
        "a.csv", written(RUSSIAN, encoding="koi8-r"), RUSSIAN, (), {"encoding": "KOI8-R"}
    ),
    "Shift JIS": Table("a.csv", written(JAPANESE, encoding="shift_jis"), None, ("another encoding",)),
    "Shift JIS by name": Table(
        "a.csv", written(JAPANESE, encoding="shift_jis"), JAPANESE, (), {"encoding": "shift_jis"}
    ),
    "GB 18030 by name": Table(
        "a.csv", written(JAPANESE, encoding="gb18030"), JAPANESE, (), {"encoding": "gb18030"}
    ),
    "the wrong encoding": Table(
        "a.csv", written(RUSSIAN), None, ("expected text in ascii", "--encoding"), {"encoding": "ascii"}
    ),
    "one broken byte in UTF-8": Table(
        "a.csv",
        written(ROWS) + b"caf\xe9,good\n",
        None,
        ("line 9: expected UTF-8, found the byte 0xe9", "--encoding"),
    ),
    "cp1252 after many lines of ASCII": Table(
        "a.csv",
        written([("plain", "bad")] * (LOOK_BYTES // 5)) + written(ROWS, None, encoding="cp1252"),
        [("plain", "bad")] * (LOOK_BYTES // 5) + ROWS,
        ("a.csv: read as cp1252",),
    ),
    "a workbook called CSV": Table("a.csv", b"PK\x03\x04" + bytes(50), None, ("found zip data",)),
    "a workbook of Excel 97 called CSV": Table(
        "a.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(50), None, ("found Excel 97 data", "save it as")
    ),
    "a web page called CSV": Table("a.csv", b"<!DOCTYPE html>\n<table>", None, ("found HTML data",)),
    "a quote that is not closed": Table(
        "a.csv", lines("text,label", '"one,a', "two,b"), None, ("row 1 (line 2)", "--quoting none")
    ),
    "JSON lines in cp1252": Table(
        "a.jsonl", '{"text": "Café", "label": "good"}\n'.encode("cp1252"), [("Café", "good")], ("cp1252",)
    ),
    "JSON lines with other keys": Table(
        "a.jsonl",
        lines(*(f'{{"review": "text {i}", "mood": "{label}"}}' for i, (_, label) in enumerate(ROWS))),
        [(f"text {i}", label) for i, (_, label) in enumerate(ROWS)],
        ("texts are read from 'review', labels from 'mood'",),
    ),
    "fastText in UTF-16": Table(
        "a.txt",
        "__label__good Café\n__label__bad no\n".encode("utf-16"),
        [("Café", "good"), ("no", "bad")],
        ("utf-16",),
    ),
}
TABLES = PROGRAMS | PEOPLE


def write(folder: Path, table: Table) -> Path:
    path = folder / table.name
    path.write_bytes(table.content)
    return path


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_read_right_or_refused_with_the_cure(tmp_path: Path, name: str) -> None:
    table = TABLES[name]
    path, options = write(tmp_path, table), DataOptions(**table.options)
    if table.rows is None:
        with pytest.raises(DataError) as caught:
            read_labelled(path, options)
        message = str(caught.value)
        assert caught.value.hint
        assert "\n" not in message
        assert all(word in message for word in table.words), message
        return
    split = read_labelled(path, options)
    texts = [
        text.strip() if table.name == "a.txt" and "label" in str(table.content[:9]) else text
        for text in split.texts
    ]
    assert list(zip(texts, split.labels, strict=True)) == table.rows
    notes = " ".join(split.notes)
    assert bool(split.notes) == bool(table.words), notes
    assert all(word in notes for word in table.words), notes


@pytest.mark.parametrize("name", [name for name, table in TABLES.items() if table.rows])
def test_streams_and_texts_alone_are_read_alike(tmp_path: Path, name: str) -> None:
    table = TABLES[name]
    path, options = write(tmp_path, table), DataOptions(**table.options)
    split = read_labelled(path, options)
    segments = segments_of([path], options=options)
    assert [Segment.from_dict(segment.to_dict()) for segment in segments] == segments
    options, notes = guess_stream_columns(segments, options)
    blocks = [block for segment in segments for block in read_segment(segment, options.text_column)]
    texts = [text for block in blocks if len(block) for text in block.values(options.text_column)]
    if "after many lines" in name:  # a stream is not read twice
        assert texts == split.texts[:-3] + split.texts[-2:]
        assert ["--encoding" in reject.reason for block in blocks for reject in block.rejected] == [True]
        return
    assert texts == split.texts
    assert notes == list(split.notes)
    assert read_texts(path, options) == split.texts


def test_dialects_of_standard_input_and_of_texts_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stream = io.BytesIO("Café\nnaïve".encode("cp1252"))
    assert read_stream(stream, "standard input", "cp1252") == ["Café", "naïve"]
    caplog.set_level("INFO", "token2wave")
    path = tmp_path / "a.csv"
    path.write_text("review\ngreat; really\nawful\n")
    assert read_texts(path) == ["great; really", "awful"]
    assert caplog.messages == ["Note: a.csv: texts are read from 'review'"]
    path.write_text("a lamp that shines is a good lamp\nawful\n")
    with pytest.raises(DataError, match=r"if this is a row and not a header, use --no-header"):
        read_texts(path)
    assert len(read_texts(path, TextOptions("1", header=False))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": ";;"}, "delimiter: expected one character, or tab, found ';;'"),
        ({"delimiter": ""}, "delimiter: expected one character"),
        ({"encoding": "latin_l"}, "did you mean 'latin_1'"),
        ({"encoding": "base64"}, "expected an encoding, found 'base64'"),
        ({"encoding": "idna"}, "expected an encoding"),
        ({"encoding": "no\0ne"}, "expected an encoding"),
    ],
)
def test_options_that_are_none_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TextOptions(**options)
    assert message in str(caught.value)


def test_encodings_and_delimiters_have_several_names() -> None:
    assert TextOptions(encoding="UTF8").encoding == TextOptions(encoding="utf-8-sig").encoding == "utf-8"
    assert [TextOptions(delimiter=name).delimiter for name in ("tab", "\\t", "\t")] == ["\t"] * 3


any_text = st.text(alphabet="éüñß ab#,;|\t\r\n\"'\\N", max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(any_text, st.sampled_from(["good", "bad", "a;b,c"])), min_size=1, max_size=8),
    name=st.sampled_from(["p.csv", "p.tsv"]),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_round_trips_are_right_or_refused(
    tmp_path: Path,
    rows: list[tuple[str, str]],
    name: str,
    delimiter: str,
    end: str,
    encoding: str,
    quoting: int,
) -> None:
    # csv does not quote a line feed where lines end otherwise, so it is part of a line end
    assume(not (end == "\r" and quoting == csv.QUOTE_MINIMAL and any("\n" in text for text, _ in rows)))
    path = tmp_path / name
    path.write_bytes(
        written(rows, encoding=encoding, delimiter=delimiter, lineterminator=end, quoting=quoting)
    )
    for options in (DataOptions(), DataOptions(delimiter=delimiter, encoding=encoding, quoting="standard")):
        has_rows = any(delimiter in text and not {*"\r\n"}.isdisjoint(text) for text, _ in rows)
        if name == "p.tsv" and has_rows and options.delimiter is None:
            continue  # a quoted text may look like two rows with plain quotes
        with suppress(DataError):
            split = read_labelled(path, options)
            if "backslash" not in " ".join(split.notes):  # it may be a plain character, so a note says it
                texts = [text.replace("\r", "\n") if end == "\r" else text for text, _ in rows]
                assert list(zip(split.texts, split.labels, strict=True)) == [
                    (text, label) for text, (_, label) in zip(texts, rows, strict=True)
                ]
