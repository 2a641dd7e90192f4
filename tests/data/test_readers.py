from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from token2wave.data import DataOptions, TextSplit, read_labelled, read_texts
from token2wave.data.labels import canonical_label
from token2wave.errors import ConfigError, DataError, MissingExtraError, Token2WaveError
from token2wave.options import TextOptions

TEXTS = [
    "plain",
    "",
    'says "no", twice',
    "line\nbreak\r\nand more",
    "tab\there",
    "  spaced  ",
    "naïve \u2028 𝄞 \x00",
]
LABELS = ["pos", "neg", "pos", "a, b", 'q"', "neg", "日本"]
FORMATS = [
    "a.csv",
    "a.tsv",
    "a.jsonl",
    "a.ndjson",
    "a.parquet",
    "a.csv.gz",
    "a.tsv.gz",
    "a.jsonl.gz",
    "A.CSV",
]
SUFFIXES = [".csv", ".tsv", ".jsonl", ".parquet", ".txt", ".ft", ".csv.gz", ".jsonl.gz"]

PROPERTY = settings(
    max_examples=60,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def write(path: Path, texts: list[str], labels: list[str]) -> Path:
    """An independent writer of every format."""
    name = path.name.lower()
    kind = name.removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        pq.write_table(pa.table({"id": range(len(texts)), "label": labels, "text": texts}), path)
        return path
    opened = gzip.open if name.endswith(".gz") else open
    with opened(path, "wt", encoding="utf-8", newline="") as stream:
        if kind in ("csv", "tsv"):
            writer = csv.writer(stream, delimiter="," if kind == "csv" else "\t")
            writer.writerows([("label", "text", "id"), *zip(labels, texts, range(len(texts)), strict=True)])
        elif kind in ("jsonl", "ndjson"):
            for index, (text, label) in enumerate(zip(texts, labels, strict=True)):
                row = {"id": index, "label": label, "text": text}
                stream.write(json.dumps(row, ensure_ascii=index % 2 == 0) + "\n")
        else:
            stream.writelines(f"__label__{x} {t}\n" for t, x in zip(texts, labels, strict=True))
    return path


def failure(path: Path, content: bytes | str, **options: object) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    label_names = options.pop("label_names", None)
    with pytest.raises(DataError) as caught:
        read_labelled(path, DataOptions(**options), label_names=label_names)  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.startswith(str(path)), message
    assert caught.value.hint, message
    assert "\n" not in message
    return message


# ------------------------------------------------------------------------------------------ what is read


@pytest.mark.parametrize("name", FORMATS)
def test_every_table_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, TEXTS, LABELS)
    assert read_labelled(path, DataOptions(quoting="standard")) == TextSplit(TEXTS, LABELS, str(path))
    assert read_texts(path, TextOptions(quoting="standard")) == TEXTS


@pytest.mark.parametrize("name", ["a.txt", "a.fasttext", "a.ft", "a.txt.gz", "a.ft.gz"])
def test_label_lines(tmp_path: Path, name: str) -> None:
    texts, labels = (
        ["two words", "", "  keeps spaces ", "ends in\u2028", "not__label__x"],
        ["a", "b", "a", "c", "é"],
    )
    path = write(tmp_path / name, texts, labels)
    assert read_labelled(path) == TextSplit(texts, labels, str(path))
    assert read_texts(path) == texts


FASTTEXT_LINES = [
    ("__label__a x y", ["a"], ["x", "y"]),
    ("x y __label__a", ["a"], ["x", "y"]),
    ("x\t__label__a\ty", ["a"], ["x", "y"]),
    ("__label__a x __label__b y __label__c", ["a", "b", "c"], ["x", "y"]),
    ("__label__b\v__label__a\fx", ["b", "a"], ["x"]),
    ("  __label__a  x", ["a"], ["x"]),
    ("__label__a x__label__b _label_c __LABEL__d", ["a"], ["x__label__b", "_label_c", "__LABEL__d"]),
    ("__label__a,b x", ["a,b"], ["x"]),
    ("__label__a", ["a"], []),
]


@pytest.mark.parametrize(("line", "labels", "words"), FASTTEXT_LINES)
def test_labels_stand_anywhere_as_in_fasttext(
    tmp_path: Path, line: str, labels: list[str], words: list[str]
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(f"{line}\r\n".encode())
    read = read_labelled(path, DataOptions(multi_label=True))
    assert read.label_sets == [tuple(labels)]
    assert [text.split() for text in read.texts] == [words]
    assert [text.split() for text in read_texts(path)] == [words]


def test_fasttext_reads_the_same(tmp_path: Path) -> None:
    """The lines above, as fastText itself takes them apart."""
    fasttext = pytest.importorskip("fasttext")
    path = tmp_path / "a.txt"
    path.write_text("".join(f"{line}\n" for line, _, _ in FASTTEXT_LINES) * 100)  # too few give NaN
    try:
        model = fasttext.train_supervised(str(path), dim=2, bucket=1, verbose=0, thread=1)
    except RuntimeError as error:
        pytest.skip(f"fastText cannot be trained on so little: {error}")
    for line, labels, words in FASTTEXT_LINES:
        assert model.get_line(line) == (
            [*words, "</s>"],
            [f"__label__{label}" for label in labels],
        )


def test_a_text_file_is_one_text_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\r\n\ntwo\u2028still two\r\n__label__a __label__b three\nno end".encode())
    assert read_texts(path) == ["one", "", "two\u2028still two", "three", "no end"]


def test_other_column_names_and_a_str_path(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("body,kind\nhello,greeting\n")
    read = read_labelled(str(path), DataOptions(text_column="body", label_column="kind"))
    assert (read.texts, read.labels, read.source, len(read)) == (["hello"], ["greeting"], str(path), 1)
    assert read_texts(path, TextOptions("kind")) == ["greeting"]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.txt", "a.csv.gz"])
def test_bom_and_blank_lines_at_the_end_are_accepted(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, ["x", "y"], ["a", "b"])
    opened = gzip.open if name.endswith(".gz") else open
    with opened(path, "rb") as stream:
        content = stream.read()
    with opened(path, "wb") as stream:
        stream.write(b"\xef\xbb\xbf" + content + b"\n\r\n")
    read = read_labelled(path)
    assert (read.texts, read.labels) == (["x", "y"], ["a", "b"])


def test_only_the_bom_at_the_start_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\ufefftext,label\n\ufeffx,a\n", encoding="utf-8")
    assert read_labelled(path).texts == ["\ufeffx"]


def test_a_blank_line_of_a_csv_with_one_column_is_an_empty_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\na\n\nb\n")
    assert read_texts(path) == ["a", "", "b"]


def test_long_fields_are_read_and_the_limit_of_csv_is_put_back(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    long = "x" * 150_000
    assert before < len(long)
    assert read_labelled(write(tmp_path / "a.csv", [long], ["a"])).texts == [long]
    assert csv.field_size_limit() == before
    failure(tmp_path / "b.csv", "text,label\nx\n")
    assert csv.field_size_limit() == before


def test_reads_in_parallel_share_the_limit(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    long = "x" * 150_000
    assert before < len(long)
    path = write(tmp_path / "a.csv", [long, "y"], ["a", "b"])
    with ThreadPoolExecutor(4) as pool:
        assert [read.texts for read in pool.map(read_labelled, [path] * 40)] == [[long, "y"]] * 40
    assert csv.field_size_limit() == before


# ------------------------------------------------------------------------------------------ labels

JSON_LABELS = [(3, "3"), (-1, "-1"), (True, "true"), (False, "false"), (1.0, "1"), (1.5, "1.5"), ("1", "1")]


@pytest.mark.parametrize(("value", "name"), JSON_LABELS)
def test_values_as_labels(tmp_path: Path, value: object, name: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "x", "label": value}))
    assert read_labelled(path).labels == [name]
    table = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x"], "label": [value]}), table)
    assert read_labelled(table).labels == [name]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.float32(), pa.float16(), pa.float64()])
def test_numbers_in_parquet_are_indices_of_label_names(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "a.parquet"
    labels = pa.array([1, 0, 1]).cast(kind)
    pq.write_table(pa.table({"text": pa.array(["x", "y", "z"]).dictionary_encode(), "label": labels}), path)
    assert read_labelled(path, label_names=["no", "yes"]).labels == ["yes", "no", "yes"]
    assert read_labelled(path).labels == ["1", "0", "1"]


def test_digits_in_csv_are_indices_unless_a_name_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\nx,1\ny,no\n")
    assert read_labelled(path, label_names=("no", "yes")).labels == ["yes", "no"]
    path.write_text("text,label\nx,1\ny,2\n")
    assert read_labelled(path, label_names=("1", "2")).labels == ["1", "2"]
    message = failure(path, "text,label\nx,0\n", label_names=("1", "2"))
    assert "row 1 (line 2), column 'label'" in message
    assert "'0' is not one of the label names '1', '2'" in message
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x", "label": 1}\n{"text": "y", "label": "1"}\n')
    assert read_labelled(path, label_names=("1", "2")).labels == ["1", "1"]


@pytest.mark.parametrize("number", [-1, 2, 10**30, 1.5, 1e300])
def test_a_number_outside_the_label_names(tmp_path: Path, number: float) -> None:
    rows = [{"text": "x", "label": 0}, {"text": "y", "label": number}]
    content = "\n".join(map(json.dumps, rows))
    message = failure(tmp_path / "a.jsonl", content, label_names=["no", "yes"])
    assert (
        "a.jsonl, row 2, column 'label': expected a label from 0 to 1 (there are 2 label names), found "
        in message
    )
    assert "; correct the label" in message


BAD_LABELS = [
    ("null", "the label is missing"),
    ('""', "the label is empty"),
    ('"  "', "the label is empty"),
    ("NaN", "the label is nan"),
    ("-Infinity", "the label is -inf"),
    ("[[1]]", "expected a label, found a value of type list"),
    ('{"a": 1}', "expected a label, found a value of type dict"),
    ('"\\udc00"', "half of a surrogate pair"),
]


@pytest.mark.parametrize(("value", "problem"), BAD_LABELS)
def test_values_that_are_no_label(tmp_path: Path, value: str, problem: str) -> None:
    content = f'{{"text": "x", "label": "a"}}\n{{"text": "", "label": {value}}}\n'
    message = failure(tmp_path / "a.jsonl", content)
    assert f"a.jsonl, row 2, column 'label': {problem}" in message.replace("holds half", "half")


def test_labels_that_are_not_label_names(tmp_path: Path) -> None:
    message = failure(tmp_path / "a.csv", "text,label\nx,no\ny,maybe\n", label_names=["no", "yes"])
    assert (
        "row 2 (line 3), column 'label': the label 'maybe' is not one of the label names 'no', 'yes'; correct"
        in message
    )
    assert "a.txt, row 1: the label 'up'" in failure(
        tmp_path / "a.txt", "__label__up x", label_names=["no", "yes"]
    )
    bools = json.dumps({"text": "x", "label": True})
    assert "'true' is not one of" in failure(tmp_path / "a.jsonl", bools, label_names=["no", "yes"])


BAD_TEXTS = [
    ("null", "the text is missing"),
    ("5", "expected a text, found the int 5"),
    ("true", "expected a text, found the bool True"),
    ("[]", "expected a text, found a value of type list"),
    ('"\\ud800"', "holds half of a surrogate pair"),
]


@pytest.mark.parametrize(("value", "problem"), BAD_TEXTS)
def test_values_that_are_no_text(tmp_path: Path, value: str, problem: str) -> None:
    content = f'{{"text": "x", "label": "a"}}\n{{"text": {value}, "label": "a"}}\n'
    path = tmp_path / "a.jsonl"
    assert f"a.jsonl, row 2, column 'text': {problem}" in failure(path, content)
    with pytest.raises(DataError, match="row 2, column 'text'"):
        read_texts(path)


# ------------------------------------------------------------------------------------------ broken files


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".tsv.gz", ".txt.gz"])
def test_missing_file_and_folder(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"reviews{suffix}").mkdir()
    for read in (read_labelled, read_texts):
        with pytest.raises(
            DataError, match=r"there is no such file; check the path \(did you mean 'reviews\."
        ):
            read(tmp_path / f"reviewz{suffix}")
        with pytest.raises(DataError, match="expected a file, found a folder; name a file in it"):
            read(tmp_path / f"reviews{suffix}")
        with pytest.raises(DataError, match=r"null (character|byte)"):
            read(f"a\0{suffix}")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl.gz"])
def test_permission_denied_and_broken_disk(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a{suffix}"
    for number, problem in ((errno.EACCES, "no permission to read this"), (errno.EIO, "Input/output error")):

        def refuse(path: Path, _mode: str, number: int = number) -> None:
            raise OSError(number, "Input/output error", str(path))

        monkeypatch.setattr("token2wave.data.lines.open", refuse, raising=False)
        with pytest.raises(DataError, match=problem) as caught:
            read_labelled(path)
        assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl.gz", ".txt"])
def test_a_disk_that_fails_while_reading(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _buffer: object) -> int:
            raise OSError(errno.EIO, "Input/output error")

    def fake_open(_path: Path, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(Failing())

    monkeypatch.setattr("token2wave.data.lines.open", fake_open, raising=False)
    with pytest.raises(DataError, match=r"Input/output error|not a readable Parquet file"):
        read_labelled(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("name", ["a", "a.parquet.gz", "a.gz", ".csv"])
def test_unknown_format_lists_the_known_ones(tmp_path: Path, name: str) -> None:
    message = failure(tmp_path / name, "text,label\nx,a\n")
    assert (
        "is not known; use a file with one of the suffixes .csv .tsv .jsonl .ndjson .parquet .txt" in message
    )
    with pytest.raises(DataError, match="is not known"):
        read_texts(tmp_path / name)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.txt", "a.ft"])
@pytest.mark.parametrize("content", ["", "\ufeff", "\n\n"])
def test_empty_file(tmp_path: Path, name: str, content: str) -> None:
    assert "the file is empty; expected a" in failure(tmp_path / name, content)
    zipped = gzip.compress(content.encode())
    assert "the file is empty; expected a" in failure(tmp_path / f"{name}.gz", zipped)


def test_no_rows(tmp_path: Path) -> None:
    message = failure(tmp_path / "a.csv", "text,label\n")
    assert "there is a header and no row below it; expected at least one row" in message
    with pytest.raises(DataError, match="no row below"):
        read_texts(tmp_path / "a.csv")
    pq.write_table(
        pa.table({"text": pa.array([], pa.string()), "label": pa.array([], pa.string())}),
        tmp_path / "a.parquet",
    )
    with pytest.raises(DataError, match="the file has no rows; expected at least one row"):
        read_labelled(tmp_path / "a.parquet")
    (tmp_path / "b.txt").write_bytes(b"")
    with pytest.raises(DataError, match="the file is empty"):
        read_texts(tmp_path / "b.txt")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet"])
def test_missing_column_lists_those_there_are(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, ["x"], ["a"])
    message = failure(path, path.read_bytes(), text_column="body")
    assert "there is no column 'body'; the columns are " in message
    for column in ("'id'", "'label'", "'text'"):
        assert column in message
    assert "; for example: --text-column " in message or "--text-column or --label-column" in message
    with pytest.raises(DataError, match="no column 'body'"):
        read_texts(path, TextOptions("body"))


def test_ambiguous_columns(tmp_path: Path) -> None:
    assert "there are 2 columns 'text'" in failure(tmp_path / "a.csv", "text,label,text\nx,a,y\n")
    with pytest.raises(ConfigError, match="expected two columns, found 'x' for both texts and labels"):
        DataOptions(text_column="x", label_column="x")
    columns = [pa.array(["x"])] * 3
    pq.write_table(pa.table(columns, names=["text", "text", "label"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="there are 2 columns 'text'"):
        read_labelled(tmp_path / "a.parquet")


def test_a_key_that_only_one_row_lacks(tmp_path: Path) -> None:
    message = failure(tmp_path / "a.jsonl", '{"text": "x", "label": "a"}\n{"text": "y", "lable": "a"}\n')
    assert "a.jsonl, row 2: there is no column 'label'; the columns are 'text', 'lable'" in message


def test_long_lists_of_columns_are_cut(tmp_path: Path) -> None:
    message = failure(tmp_path / "a.csv", ",".join("c" * 99 + str(n) for n in range(99)) + "\n")
    assert "... (99 in all)" in message
    assert len(message) < 1200 + len(str(tmp_path))


def test_invalid_utf8_names_line_byte_and_cure(tmp_path: Path) -> None:
    hint = "name the encoding of the file, for example with --encoding cp1252"
    for name, header in (
        ("a.csv", b"text,label\n"),
        ("a.jsonl", b'{"text": "x", "label": "a"}\n'),
        ("a.txt", b"__label__a x\n"),
    ):
        message = failure(tmp_path / name, header + b"caf\x81,a\n")
        assert f"{name}, line 2: expected UTF-8, found the byte 0x81 at byte 4 of the line; {hint}" in message
    assert "let the name of the file end in .gz" in failure(
        tmp_path / "a.csv", gzip.compress(b"text,label\nx,a\n")
    )
    with pytest.raises(DataError, match="expected lines of text, found gzip data"):
        read_texts(tmp_path / "a.csv")


def test_ragged_rows_name_row_and_line(tmp_path: Path) -> None:
    message = failure(tmp_path / "a.csv", 'text,label\n"two\nlines",a\nx, y,b\n')
    assert "a.csv, row 2 (line 4): expected 2 fields as in the header, found 3; put double quotes" in message
    assert "row 1 (line 2): expected 2 fields as in the header, found 1" in failure(
        tmp_path / "a.tsv", "text\tlabel\nx\n"
    )


def test_values_in_csv_name_row_and_line(tmp_path: Path) -> None:
    message = failure(tmp_path / "a.csv", 'text,label\n"two\nlines",a\nx,\n')
    assert "a.csv, row 2 (line 4), column 'label': the label is empty" in message


def test_broken_quotes(tmp_path: Path) -> None:
    hint = "if quotes are plain characters, use --quoting none (quoting='none')"
    message = failure(tmp_path / "a.csv", 'text,label\nx,a\n"never closed,a\ny,b\n')
    assert "a.csv, row 2 (line 3): not valid CSV (unexpected end of data)" in message
    assert message.endswith(hint)
    assert "row 1 (line 2): not valid CSV (',' expected" in failure(
        tmp_path / "a.csv", 'text,label\n"x" y,a\n'
    )
    assert "line 1: not valid CSV" in failure(tmp_path / "a.csv", '"text" x,label\n')


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.csv", "text,label\nx,a\n\ny,b\n", 3),
        ("a.jsonl", '{"text": "x", "label": "a"}\n \n\n{"text": "x", "label": "a"}\n', 2),
        ("a.txt", "\n__label__a x\n", 1),
    ],
)
def test_blank_lines_between_rows(tmp_path: Path, name: str, content: str, line: int) -> None:
    assert f"{name}, line {line}: a blank line between rows" in failure(tmp_path / name, content)


@pytest.mark.parametrize("line", ['{"text": "x"', "nonsense", "{'text': 1}", "[" * 100_000, "1" * 5000])
def test_malformed_json(tmp_path: Path, line: str) -> None:
    message = failure(tmp_path / "a.jsonl", f'{{"text": "x", "label": "a"}}\n{line}\n')
    assert "a.jsonl, row 2: not valid JSON (" in message
    assert "; write one object a line" in message


@pytest.mark.parametrize(
    ("line", "got"), [("[1]", "a value of type list"), ("5", "the int 5"), ('"x"', "'x'")]
)
def test_json_that_is_not_an_object(tmp_path: Path, line: str, got: str) -> None:
    message = failure(tmp_path / "a.jsonl", f"{line}\n")
    assert f"a.jsonl, row 1: expected a JSON object, found {got}; write one object a line" in message


def test_label_lines_without_one_label(tmp_path: Path) -> None:
    message = failure(tmp_path / "a.txt", "__label__a x\nno label\n")
    assert (
        "a.txt, row 2: expected a line with a label, '__label__name', found 'no label'; write each line as"
        in message
    )
    assert "a.txt, row 1: the label is empty" in failure(tmp_path / "a.txt", "__label__ x\n")


def test_damaged_gzip(tmp_path: Path) -> None:
    rows = "".join(f'{{"text": "{n} {n * n}", "label": "a"}}\n' for n in range(2000))
    whole = gzip.compress(rows.encode())
    path = tmp_path / "a.jsonl.gz"
    message = failure(path, whole[: len(whole) // 2])
    assert "the gzip data ends too early, and nothing after this can be read; copy the file again" in message
    assert "a.jsonl.gz, line " in message
    assert "the gzip data is damaged" in failure(path, whole[:2000] + b"\xff" * 50 + whole[2050:])
    assert "the gzip data is damaged (Not a gzipped file" in failure(path, rows)


def test_damaged_parquet(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", ["x"] * 500, ["a"] * 500)
    content = path.read_bytes()
    for broken in (b"", b"text,label\nx,a\n", content[:-20], content[: len(content) // 2]):
        message = failure(path, broken)
        assert "not a readable Parquet file (" in message
        assert message.endswith("; write or copy the file again")


def test_parquet_columns_of_other_types(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for values in (pa.array([b"x"]), pa.array([[b"x"]]), pa.array([{"a": 1}]), pa.array([0], pa.date32())):
        pq.write_table(pa.table({"text": ["x"], "label": values}), path)
        message = failure(path, path.read_bytes())
        assert (
            "a.parquet, column 'label': expected strings, numbers or lists of them, found values of type "
            in message
        )
    pq.write_table(pa.table({"text": ["x", None], "label": ["a", "b"]}), path)
    assert "row 2, column 'text': the text is missing" in failure(path, path.read_bytes())
    pq.write_table(pa.table({"text": ["x", "y"], "label": ["a", None]}), path)
    assert "row 2, column 'label': the label is missing" in failure(path, path.read_bytes())


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", ["x"], ["a"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pyarrow.*pip install 'token2wave\[parquet\]'"):
        read_labelled(path)


def test_as_many_labels_as_texts() -> None:
    with pytest.raises(DataError, match=r"^here: expected a label for each of the 2 texts, found 1 labels; "):
        TextSplit(["x", "y"], ["a"], "here")


# ------------------------------------------------------------------------------------------ properties

any_text = st.text(max_size=40) | st.text(alphabet=" \",'\t\n\r\x00\ufeffé\u2028a", max_size=12)
any_label = any_text.filter(str.strip).map(canonical_label)  # what a reader makes of it
any_rows = st.lists(st.tuples(any_text, any_label), min_size=1, max_size=6)


@PROPERTY
@given(rows=any_rows, name=st.sampled_from(["p.csv", "p.tsv", "p.jsonl", "p.parquet", "p.csv.gz"]))
def test_round_trip(tmp_path: Path, rows: list[tuple[str, str]], name: str) -> None:
    texts, labels = map(list, zip(*rows, strict=True))
    path = write(tmp_path / name, texts, labels)
    read = read_labelled(path, DataOptions(quoting="standard"))
    assert (read.texts, read.labels) == (texts, labels)
    assert read_texts(path, TextOptions(quoting="standard")) == texts


def outcome(read: Callable[[Path], TextSplit | list[str]], path: Path) -> int:
    """The number of rows read, or the length of an error that names the file and a cure."""
    try:
        return len(read(path))
    except Token2WaveError as error:
        caught = error
    assert str(caught).startswith(str(path)), caught
    return len(caught.hint or "")


line_text = any_text.map(lambda text: text.replace("\n", " ").rstrip("\r"))
unlabelled_text = line_text.filter(lambda text: not text.lstrip().startswith("__label__"))
word = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters=" \t\n\v\f\r\0"), min_size=1, max_size=8
)


@PROPERTY
@given(rows=st.lists(st.tuples(unlabelled_text, word.filter(str.strip)), min_size=1, max_size=6))
def test_round_trip_of_label_lines(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    texts, labels = map(list, zip(*rows, strict=True))
    read = read_labelled(write(tmp_path / "p.ft", texts, labels))
    assert (read.texts, read.labels) == (texts, list(map(canonical_label, labels)))


@settings(PROPERTY, max_examples=200)
@given(content=st.binary(max_size=200), suffix=st.sampled_from(SUFFIXES), zipped=st.booleans())
@example(content=b"text,label\r\n\xef\xbb\xbf", suffix=".csv", zipped=False)
@example(content=b'{"text":"\\ud800","label":1e999}', suffix=".jsonl", zipped=False)
def test_random_bytes_give_rows_or_our_error(
    tmp_path: Path, content: bytes, suffix: str, zipped: bool
) -> None:
    path = tmp_path / f"p{suffix}"
    path.write_bytes(gzip.compress(content, 1) if zipped and suffix.endswith(".gz") else content)
    for read in (read_labelled, read_texts):
        assert outcome(read, path)


@PROPERTY
@given(data=st.data(), suffix=st.sampled_from(SUFFIXES))
def test_damaged_files_give_rows_or_our_error(tmp_path: Path, data: st.DataObject, suffix: str) -> None:
    path = write(tmp_path / f"p{suffix}", ["one", "two"] * 20, ["a", "b"] * 20)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    for read in (read_labelled, read_texts):
        assert outcome(read, path)
