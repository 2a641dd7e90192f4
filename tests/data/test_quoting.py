"""Quotes that are plain characters swallow no rows, and texts of several lines stay what they are."""

import io
from pathlib import Path

import pytest

from token2wave.data import DataOptions, read_labelled, read_stream, read_texts
from token2wave.data.file_segments import segments_of
from token2wave.data.reader import read_segment
from token2wave.errors import ConfigError, DataError

ROWS = [(f"a text of the row {i}", ("good", "bad")[i % 2]) for i in range(40)]


def write(path: Path, rows: list[tuple[str, str]], delimiter: str = ",", end: str = "\n") -> Path:
    lines = [f"{text}{delimiter}{label}" for text, label in [("text", "label"), *rows]]
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


def with_quotes(first: int, last: int) -> list[tuple[str, str]]:
    """Rows of which one begins with a quote, and a later one ends its text with one."""
    rows = list(ROWS)
    rows[first] = (f'"{rows[first][0]}', rows[first][1])
    rows[last] = (f'{rows[last][0]}"', rows[last][1])
    return rows


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(("first", "last"), [(0, 30), (20, 21), (5, 39)])
def test_a_quote_that_swallows_rows_stops_every_reader(
    tmp_path: Path, first: int, last: int, end: str
) -> None:
    path = write(tmp_path / "a.csv", with_quotes(first, last), end=end)
    message = rf"row {first + 1} \(line {first + 2}\).*swallows {last - first + 1} lines.*--quoting none"
    with pytest.raises(DataError, match=message):
        read_labelled(path)
    with pytest.raises(DataError, match=message):
        read_texts(path)
    with pytest.raises(DataError, match=message):
        list(read_segment(segments_of([path])[0]))


def test_quotes_are_plain_characters_on_request(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", with_quotes(3, 30))
    split = read_labelled(path, DataOptions(quoting="none"))
    assert list(zip(split.texts, split.labels, strict=True)) == with_quotes(3, 30)
    assert len(read_labelled(path, DataOptions(quoting="standard"))) == len(ROWS) - 27
    (segment,) = segments_of([path], options=DataOptions(quoting="none"))
    assert sum(len(block) for block in read_segment(segment)) == len(ROWS)


def test_quotes_in_tsv_are_plain_characters(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", with_quotes(3, 30), "\t")
    assert read_labelled(path).texts == [text for text, _ in with_quotes(3, 30)]
    path.write_text('text\tlabel\n"two\nlines"\ta\nx\tb\n')
    with pytest.raises(DataError, match="--quoting standard"):
        read_labelled(path, DataOptions(quoting="none"))
    assert read_labelled(path, DataOptions(quoting="standard")).texts == ["two\nlines", "x"]


@pytest.mark.parametrize(
    "text", ["Hello, world\nbye", "one, two\nthree, four\nfive", "no comma\nhere", "good\nbad, good\ngood"]
)
def test_texts_of_several_lines_are_texts(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.csv", [*ROWS, (f'"{text}"', "good"), *ROWS])
    assert read_labelled(path).texts[len(ROWS)] == text


def test_unknown_quoting_is_refused() -> None:
    with pytest.raises(ConfigError, match="quoting"):
        DataOptions(quoting="sometimes")


def test_lone_carriage_returns_after_a_line_feed_are_named(tmp_path: Path) -> None:
    contents = {"a.csv": "text,label\nx,a\ry,b\r", "a.txt": "__label__a z\n__label__a x\r__label__b y\r"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content.encode())
        with pytest.raises(DataError, match="carriage return"):
            read_labelled(tmp_path / name)


def test_lone_carriage_returns_of_standard_input_are_named() -> None:
    with pytest.raises(DataError, match="carriage return"):
        read_stream(io.BytesIO(b"a cup\ra lamp"), "standard input")


def test_a_carriage_return_within_a_text_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\na\rb\r\n")
    assert read_texts(tmp_path / "a.txt") == ["one", "a\rb"]
