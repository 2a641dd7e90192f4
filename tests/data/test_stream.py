"""Segments and streaming readers: every row once, whatever the cuts; what is broken is set aside."""

import bz2
import csv
import gzip
import json
import lzma
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from token2wave.data.file_segments import find_inputs, segments_of
from token2wave.data.reader import read_segment
from token2wave.data.rows import RowLimits, Segment
from token2wave.data.text_files import read_texts
from token2wave.errors import DataError

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

TEXTS = st.lists(
    st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0")), min_size=1
)


def read(path, n_bytes=1 << 20, **how):
    """Values of all rows, their places, and the rejects."""
    segments = segments_of(find_inputs([path]), n_bytes)
    texts, places, rejected = [], [], []
    for segment in segments:
        for rows in read_segment(segment, **how):
            texts += rows.values("text")
            places += [segment.location(int(place)) for place in rows.places]
            rejected += rows.rejected
    return texts, places, rejected


def write_jsonl(path, texts):
    lines = [json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts)]
    path.write_text("".join(lines), encoding="utf-8")
    return path


# ---- inputs ----


def test_inputs_are_files_folders_and_patterns(tmp_path):
    for name in ("b.jsonl", "a.parquet", "deep/er/c.csv.gz", "_SUCCESS.jsonl", ".hidden.jsonl", "readme.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    names = [str(path.relative_to(tmp_path)) for path in find_inputs([tmp_path])]
    assert names == ["a.parquet", "b.jsonl", "deep/er/c.csv.gz"]
    assert [path.name for path in find_inputs([tmp_path / "*.jsonl"])] == ["b.jsonl"]
    assert [path.name for path in find_inputs([f"{tmp_path}/**/*.gz", tmp_path / "b.jsonl"])] == [
        "c.csv.gz",
        "b.jsonl",
    ]
    assert len(find_inputs([tmp_path / "b.jsonl", tmp_path])) == 3  # each once


def test_a_name_with_the_marks_of_a_pattern_is_a_file_if_it_is_there(tmp_path):
    path = tmp_path / "part[1].jsonl"
    path.write_text('{"text": "a"}\n')
    assert find_inputs([path]) == [path]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.jsonl", "there is no such file"),
        ("*.parquet", "no file has a name like this"),
        ("notes.docx", "the format of 'notes.docx' is not known"),
        ("empty", "expected a file with one of the suffixes"),
    ],
)
def test_inputs_that_are_none_are_refused(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.docx").write_text("x")
    with pytest.raises(DataError, match=message):
        find_inputs([tmp_path / name])
    with pytest.raises(DataError, match="at least one"):
        find_inputs([])


# ---- cuts ----


@pytest.mark.parametrize("n_bytes", [1, 7, 64, 1000, 1 << 20])
@pytest.mark.parametrize("ending", ["\n", ""])
def test_every_line_is_in_one_segment_wherever_the_cuts_are(tmp_path, n_bytes, ending):
    texts = [f"text {i} {'é' * (i % 11)}" for i in range(100)]
    path = write_jsonl(tmp_path / "a.jsonl", texts)
    path.write_text(path.read_text()[:-1] + ending)
    found, places, rejected = read(path, n_bytes)
    assert found == texts
    assert not rejected
    whole = path.read_bytes()
    for place, text in zip(places, texts, strict=True):
        at = int(place.rsplit(" ", 1)[1])
        assert json.loads(whole[at:].split(b"\n")[0])["text"] == text


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=TEXTS, n_bytes=st.integers(1, 200))
def test_plain_texts_are_those_of_the_reader_in_memory(tmp_path, texts, n_bytes):
    path = tmp_path / "a.txt"
    path.write_text("\n".join(texts) + "\n", encoding="utf-8", newline="")
    assert read(path, n_bytes)[0] == read_texts(path)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("kind", [".jsonl", ".csv", ".txt"])
def test_compressed_files_are_read_as_plain_ones(tmp_path, kind, suffix):
    texts = [f'row {i}, with "marks" and {i * "z"}' for i in range(50)]
    plain = tmp_path / f"plain{kind}"
    if kind == ".jsonl":
        write_jsonl(plain, texts)
    elif kind == ".csv":
        with plain.open("w", newline="") as file:
            csv.writer(file).writerows([["text"], *([text] for text in texts)])
    else:
        plain.write_text("\n".join(texts))
    path = tmp_path / f"packed{kind}{suffix}"
    content = plain.read_bytes()
    if suffix == ".zst":
        path.write_bytes(pyarrow.compress(content, codec="zstd", asbytes=True))
    else:
        path.write_bytes({".gz": gzip, ".bz2": bz2, ".xz": lzma}[suffix].compress(content))
    assert read(plain)[0] == texts
    found, places, rejected = read(path)
    assert (found, rejected) == (texts, [])
    assert places[4] == f"{path}, row 5"


def test_row_groups_are_segments(tmp_path):
    texts = [f"text {i}" for i in range(1000)]
    table = pyarrow.table({"id": range(1000), "text": texts})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=100)
    segments = segments_of([tmp_path / "a.parquet"], n_bytes=6000)
    assert 3 < len(segments) < 10
    found, places, rejected = read(tmp_path / "a.parquet", n_bytes=3000)
    assert found == texts
    assert places[250].endswith("row 251")
    assert not rejected


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
def test_parquet_may_hold_strings_in_any_way(tmp_path, kind):
    values = pyarrow.array(["a", None, "c"])
    values = values.dictionary_encode() if kind == "dictionary" else values.cast(getattr(pyarrow, kind)())
    parquet.write_table(pyarrow.table({"text": values}), tmp_path / "a.parquet")
    found, places, rejected = read(tmp_path / "a.parquet")
    assert found == ["a", "c"]
    assert [place[-1] for place in places] == ["1", "3"]
    assert rejected[0][:2] == (2, "the text is missing")


def test_parquet_that_lies_about_utf8(tmp_path):
    raw = pyarrow.array([b"good", b"bad \xff", b"fine"], pyarrow.binary())
    lying = pyarrow.Array.from_buffers(pyarrow.string(), 3, raw.buffers())
    parquet.write_table(pyarrow.table({"text": lying}), tmp_path / "a.parquet")
    found, _, rejected = read(tmp_path / "a.parquet")
    assert found == ["good", "fine"]
    assert rejected[0][:2] == (2, "expected UTF-8, found the byte 0xff")


# ---- what is broken ----

BROKEN = [
    (b"{broken\n", "not valid JSON"),
    (b"[1, 2]\n", "expected a JSON object"),
    (b'{"other": "x"}\n', "there is no column 'text'"),
    (b'{"text": 5}\n', "expected a text"),
    (b'{"text": null}\n', "the text is missing"),
    (b'{"text": "\\ud800"}\n', "half of a surrogate pair"),
    (b'{"text": "\xff"}\n', "expected UTF-8, found the byte 0xff at byte 11"),
    (b'{"text": "' + b"y" * 3000 + b'"}\n', "at most 1,000 bytes"),
    (b'{"a": ' + b"[" * 900 + b"\n", "not valid JSON"),
    (b"{" + b",".join(b'"%d": 1' % i for i in range(60)) + b"}\n", "at most 50 columns"),
]


@pytest.mark.parametrize("n_bytes", [50, 1 << 20])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_broken_lines_are_set_aside_with_a_reason(tmp_path, n_bytes, suffix):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    lines = [(b'{"text": "good %d"}\n' % i, None) for i in range(30)] + BROKEN
    random.Random(seed).shuffle(lines)
    content = b"".join(line for line, _ in lines)
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    found, _, rejected = read(path, n_bytes, limits=RowLimits(line_bytes=1000, columns=50))
    assert len(found) == 30
    reasons = [reason for _, reason in lines if reason]
    assert len(rejected) == len(reasons)
    for reject, reason in zip(rejected, reasons, strict=True):
        assert reason in reject.reason
        assert reject.n_rows == 1
        assert len(reject.beginning) <= 200


def test_csv_rows_that_cannot_be_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'id,text\n1,a\n2,"b\nb"\n3\n4,c,d\n5,\xff\n\n6,"q"x\n7,last\n')
    found, places, rejected = read(path)
    assert found == ["a", "b\nb", "last"]
    assert [place.rsplit(" ", 1)[1] for place in places] == ["1", "2", "7"]
    assert [at for at, *_ in rejected] == [3, 4, 5, 6]
    assert "expected 2 fields" in rejected[0].reason
    assert "0xff" in rejected[2].reason
    assert "not valid CSV" in rejected[3].reason


def test_a_quote_that_is_never_closed_does_not_swallow_the_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text\ngood\n"open ' + "x\n" * 5000)
    found, _, rejected = read(path, limits=RowLimits(line_bytes=1000))
    assert found[0] == "good"
    assert any("field limit" in reject.reason for reject in rejected)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_damaged_compression_keeps_what_stands_before(tmp_path, suffix):
    texts = [f"{i} {np.random.default_rng(i).integers(1 << 60)}" for i in range(20_000)]
    plain = write_jsonl(tmp_path / "plain.jsonl", texts).read_bytes()
    if suffix == ".zst":
        packed = pyarrow.compress(plain, codec="zstd", asbytes=True)
    else:
        packed = {".gz": gzip, ".bz2": bz2, ".xz": lzma}[suffix].compress(plain)
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(packed[: len(packed) * 2 // 3])
    found, _, rejected = read(path)
    assert found == texts[: len(found)]
    assert (0 if suffix in (".bz2", ".zst") else 10_000) <= len(found) < 20_000  # those two have large blocks
    assert "nothing after this can be read" in rejected[-1].reason or "not valid JSON" in rejected[-1].reason


def test_damaged_parquet_counts_the_rows_that_are_lost(tmp_path):
    path = tmp_path / "a.parquet"
    table = pyarrow.table(
        {"text": [f"{i} {np.random.default_rng(i).integers(1 << 60)}" for i in range(4000)]}
    )
    parquet.write_table(table, path, row_group_size=1000, compression="zstd", use_dictionary=False)
    content = bytearray(path.read_bytes())
    begin = parquet.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
    content[begin + 100 : begin + 2000] = bytes(1900)
    path.write_bytes(content)
    segments = segments_of([path], n_bytes=1)
    assert len(segments) == 4
    n_read, n_lost = 0, 0
    for segment in segments:
        for rows in read_segment(segment):
            n_read += len(rows)
            n_lost += sum(reject.n_rows for reject in rows.rejected)
    assert (n_read, n_lost) == (3000, 1000)


def test_missing_columns_name_those_there_are(tmp_path):
    (tmp_path / "a.csv").write_text("id,body\n1,x\n")
    parquet.write_table(pyarrow.table({"body": ["x"], "n": [1]}), tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(DataError, match=r"there is no column 'text'; the columns are .*'body'"):
            read(tmp_path / name)
    with pytest.raises(DataError, match="expected strings, found values of type int64"):
        read(tmp_path / "a.parquet", text_column="n")
    (tmp_path / "wide.csv").write_text(",".join(map(str, range(20_000))) + "\n")
    with pytest.raises(DataError, match="at most 10,000 columns"):
        read(tmp_path / "wide.csv")
    (tmp_path / "no.parquet").write_text("no")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read(tmp_path / "no.parquet")


def test_a_decompression_bomb_takes_no_memory(tmp_path):
    """A gigabyte without a line's end, in a megabyte: one reject."""
    import resource

    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(256):
            file.write(bytes(1 << 20))
        file.write(b'\n{"text": "after"}\n')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found, _, rejected = read(path, limits=RowLimits(line_bytes=1 << 20))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert found == ["after"]
    assert len(rejected) == 1
    assert grown < 64 << 10  # KiB


def test_columns_and_segments_survive_a_trip_to_another_process(tmp_path):
    import pickle

    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "n": 1, "m": 2}\n{"text": "b", "m": 3}\n')
    (segment,) = segments_of([path])
    assert pickle.loads(pickle.dumps(segment)) == segment == Segment.from_dict(segment.to_dict())
    (rows,) = read_segment(segment, columns=["n"])
    assert rows.records == [{"text": "a", "n": 1}, {"text": "b"}]
    assert rows.values("n") == [1, None]


def test_lines_of_fasttext_have_their_labels(tmp_path):
    path = tmp_path / "a.fasttext"
    path.write_text("__label__x __label__y some text\n\nno label\n")
    (rows,) = read_segment(segments_of([path])[0])
    assert rows.values("label") == [["x", "y"], None]
    assert rows.values("text") == ["some text", "no label"]


def test_blocks_are_small_where_rows_are_large(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", ["x" * 1000] * 100)
    sizes = [len(rows) for rows in read_segment(segments_of([path])[0], limits=RowLimits(block_bytes=10_000))]
    assert sum(sizes) == 100
    assert max(sizes) <= 10


def test_csv_limit_of_the_process_stays_as_it_was(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text\na\nb\n")
    before = csv.field_size_limit()
    blocks = read_segment(segments_of([path])[0], n_rows=1)
    next(blocks)
    assert csv.field_size_limit() == before
    list(blocks)


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path):
    for name, content in (("a.txt", "one\ntwo\n"), ("a.csv", "text\none\ntwo\n")):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + content.encode())
        assert read(tmp_path / name)[0] == ["one", "two"]


def test_a_text_that_stands_in_many_rows_of_parquet_is_not_unpacked_at_once(tmp_path):
    path = tmp_path / "bomb.parquet"
    texts = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 1000, pyarrow.int32()), ["x" * (1 << 18)])
    parquet.write_table(pyarrow.table({"text": texts}), path, compression="zstd")
    assert path.stat().st_size < 10_000
    sizes = []
    for rows in read_segment(segments_of([path])[0]):
        sizes.append(len(rows))
        if len(sizes) == 3:
            break
    assert max(sizes) <= 256
