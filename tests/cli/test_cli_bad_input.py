"""Bad input exits with status 2 and prints one line with location and hint."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from cli_helpers import TINY

GOOD = "text,label\na b,pos\nc d,neg\n"
BAD_FILES = {  # name: (content, what the message has to name)
    "empty.csv": (b"", ["the file is empty", "expected a header"]),
    "header.csv": (b"text,label\n", ["no row", "expected at least one row"]),
    "column.csv": (b"text,mood\na,b\n", ["'label'", "'mood'", "--text-column"]),
    "one.csv": (b"text,label\na,x\nb,x\n", ["the same label 'x'", "at least two classes"]),
    "ragged.csv": (b"text,label\na,x\nb,y,z\n", ["row 2 (line 3)", "2 fields", "found 3", "double quotes"]),
    "short.csv": (b"text,label\na,x\nb\n", ["row 2 (line 3)", "found 1", "double quotes"]),
    "latin.csv": (b"text,label\na,x\ncaf\x81,y\n", ["line 3", "0x81", "byte 4", "--encoding"]),
    "utf16.csv": (GOOD.encode("utf-16")[:-1], ["line 3", "utf-16", "--encoding"]),
    "quote.csv": (b'text,label\n"a,x\nb,y\n', ["row 1", "not valid CSV", "double quotes"]),
    "unlabelled.csv": (b"text,label\na,x\nb,\n", ["row 2 (line 3)", "'label'", "give every row one label"]),
    "gap.csv": (b"text,label\na,x\n\nb,y\n", ["line 3", "blank line", "delete"]),
    "twice.csv": (b"text,text,label\na,a,x\n", ["2 columns 'text'", "correct the name"]),
    "ragged.tsv": (b"text\tlabel\na\tx\nb\n", ["row 2 (line 3)", "expected 2 fields", "double quotes"]),
    "empty.jsonl": (b"", ["the file is empty", "expected at least one row"]),
    "broken.jsonl": (
        b'{"text":"a","label":"x"}\n{"text"\n',
        ["row 2", "not valid JSON", "one object a line"],
    ),
    "array.jsonl": (b"[1]\n", ["row 1", "expected a JSON object", "one object a line"]),
    "key.jsonl": (b'{"text":"a"}\n', ["'label'", "name one of them"]),
    "number.jsonl": (b'{"text":1,"label":"x"}\n', ["row 1", "'text'", "make it a string"]),
    "null.jsonl": (b'{"text":null,"label":"x"}\n', ["row 1", "missing", "fill it in"]),
    "surrogate.jsonl": (b'{"text":"\\ud800","label":"x"}\n', ["row 1", "surrogate", "remove it"]),
    "empty.txt": (b"", ["the file is empty", "expected at least one row"]),
    "plain.txt": (b"hello\n", ["row 1", "__label__", "write each line as"]),
    "noise.parquet": (b"hello", ["not a readable Parquet file", "write or copy the file again"]),
    "empty.parquet": (b"", ["not a readable Parquet file", "write or copy the file again"]),
    "noise.csv.gz": (b"text,label\n", ["gzip", "copy the file again"]),
    "book.xlsx": (b"a", ["not a readable workbook", "save the sheet as CSV"]),
    "book.numbers": (b"a", ["not known", "save it as .xlsx or CSV"]),
    "book.text": (b"a", ["not known", "suffixes .csv"]),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_training_file(run_cli, workplace, name):
    content, expected = BAD_FILES[name]
    Path(name).write_bytes(content)
    old = workplace / "old.safetensors"
    old.write_bytes(b"an older model")
    error = run_cli("train", name, "--out", old, "--overwrite", *TINY).error
    assert error.startswith(f"error: {name}")
    for text in expected:
        assert text in error
    assert old.read_bytes() == b"an older model"


@pytest.mark.parametrize("name", ["empty.csv", "column.csv", "ragged.csv", "latin.csv", "broken.jsonl"])
def test_bad_file_in_evaluate_and_predict(run_cli, model, name):
    content, expected = BAD_FILES[name]
    Path(name).write_bytes(content)
    for arguments in (["evaluate", model, name], ["predict", model, "--file", name]):
        if name == "column.csv" and arguments[0] == "predict":
            arguments += ["--text-column", "label"]
        error = run_cli(*arguments).error
        assert error.startswith(f"error: {name}")
        assert all(text in error for text in expected)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "reveiws.csv", "--out", "m.safetensors"],
        ["train", "reviews.csv", "--out", "m.safetensors", "--test", "reveiws.csv"],
    ],
)
def test_missing_data_lists_the_known_names(run_cli, train_csv, arguments):
    error = run_cli(*arguments).error
    assert error.startswith("error: reveiws.csv: there is no such file")
    assert "did you mean 'reviews.csv'?" in error
    assert "debian-sections" in error
    assert not Path("m.safetensors").exists()


def test_missing_files_of_other_commands(run_cli, model):
    assert "nothing.csv" in run_cli("evaluate", model, "nothing.csv").error
    assert "check the path" in run_cli("predict", model, "--file", "nothing.txt").error
    for arguments in (["info"], ["predict"], ["evaluate"]):
        rest = ["reviews.csv"] if arguments == ["evaluate"] else []
        assert (
            "none.safetensors: there is no such file; check"
            in run_cli(*arguments, "none.safetensors", *rest).error
        )


def test_folder_without_splits(run_cli, workplace):
    (workplace / "folder").mkdir()
    assert "name the training file train" in run_cli("train", "folder", "--out", "m.safetensors").error


def test_missing_named_folder(run_cli, monkeypatch):
    monkeypatch.setenv("TOKEN2WAVE_DATA", "/nonexistent/data")
    error = run_cli("train", "news", "--out", "m.safetensors").error
    assert "TOKEN2WAVE_DATA=/nonexistent/data" in error
    assert "correct or unset" in error


def test_test_rows_of_unknown_labels_alone_fail_before_training(run_cli, train_csv, monkeypatch):
    Path("test.csv").write_text("text,label\na,meh\nb,meh\n")
    monkeypatch.setattr("token2wave.training.run.fit_branches", lambda *_, **__: pytest.fail("trained"))
    error = run_cli("train", train_csv, "--test", "test.csv", "--out", "m.safetensors", *TINY).error
    for text in ("test.csv, row 1", "'meh'", "'neg', 'pos'", "correct or remove the row"):
        assert text in error
    assert not Path("m.safetensors").exists()


def test_evaluate_refuses_rows_of_unknown_labels_alone(run_cli, model):
    Path("test.csv").write_text("text,label\na,huh\nb,meh\n")
    error = run_cli("evaluate", model, "test.csv").error
    for text in ("test.csv, row 1", "'huh'", "'neg', 'pos'"):
        assert text in error


def test_missing_split(run_cli, model, workplace):
    (workplace / "data").mkdir()
    (workplace / "data" / "train.csv").write_text(GOOD)
    assert "only 'train'" in run_cli("evaluate", model, "data").error
    assert "expected one of train" in run_cli("evaluate", model, "data", "--split", "x").error


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--preset tiny", ["preset", "small, fast, paper", "'tiny'"]),
        ("--operation product", ["interference, modulation", "'product'"]),
        ("--epochs 0", ["epochs", "at least 1", "0"]),
        ("--batch-size 0", ["batch_size", "from 1 to 2^30", "0"]),
        ("--lr -1", ["lr", "positive", "-1"]),
        ("--lr nan", ["lr", "positive", "nan"]),
        ("--seed -1", ["seed", "from 0 to", "-1"]),
        ("--device tpu", ["device", "auto, cpu or cuda", "'tpu'"]),
        ("--set width", ["KEY=VALUE", "'width'", "network.width=256"]),
        ("--set width=3", ["network.KEY", "'width'", "network.width=256"]),
        ("--set network.wdth=3", ["'wdth'", "width"]),
        ("--set network.width=wide", ["width", "int", "'wide'"]),
        ("--set features.ngrams=9", ["ngrams", "1 to 5", "9"]),
        ("--vocabulary v.txt", ["vocabulary", "preset 'small'", "leave it out"]),
        ("--text-column label", ["label_column", "'label'", "--label-column"]),
        ("--label-column mood", ["reviews.csv", "'mood'", "'text', 'label'"]),
    ],
)
def test_bad_setting(run_cli, train_csv, arguments, expected):
    error = run_cli("train", train_csv, "--out", "m.safetensors", *TINY, *arguments.split()).error
    for text in expected:
        assert text in error
    assert not Path("m.safetensors").exists()


def test_train_needs_an_output(run_cli, train_csv):
    assert "--out model.safetensors" in run_cli("train", train_csv).error


def _with_header(model: Path, change) -> bytes:
    """The model file with other metadata."""
    content = model.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    document = json.loads(header["__metadata__"]["token2wave"])
    del document["checksum"]
    change(document)
    header["__metadata__"]["token2wave"] = json.dumps(document)
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + content[8 + length :]


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda model: model.read_bytes()[:-9], "copy it again, or train again"),
        (lambda model: model.read_bytes()[:100], "copy it again, or train again"),
        (lambda model: b"", "copy it again, or train again"),
        (lambda model: b"\x80\x04\x95" + b"x" * 99, "expected a whole safetensors file"),
        (lambda model: _with_header(model, lambda d: d.update(format_version=9)), "or train again"),
        (lambda model: _with_header(model, lambda d: d.pop("labels")), "'labels'"),
        (lambda model: _with_header(model, lambda d: d.update(labels=["a"])), "2 names"),
        (lambda model: _with_header(model, lambda d: d["network"].update(width=5)), "'embedding.weight'"),
    ],
)
def test_bad_model_file(run_cli, model, train_csv, damage, text):
    Path("bad.safetensors").write_bytes(damage(model))
    for arguments in (["info"], ["predict"], ["evaluate"]):
        rest = {"info": [], "predict": ["hello"], "evaluate": [train_csv]}[arguments[0]]
        error = run_cli(*arguments, "bad.safetensors", *rest).error
        assert error.startswith(("error: bad.safetensors: ", "error: bad.safetensors, '"))
        assert text in error


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["features"].update(settings=[1]),
        lambda d: d["network"].pop("n_rows"),
    ],
    ids=["settings not an object", "network without n_rows"],
)
def test_model_file_with_wrong_sections(run_cli, model, change):
    Path("bad.safetensors").write_bytes(_with_header(model, change))
    assert "bad.safetensors" in run_cli("info", "bad.safetensors").error


def test_model_file_with_a_wrong_training_record(run_cli, model, train_csv):
    Path("m.safetensors").write_bytes(_with_header(model, lambda d: d.update(training={"recipe": 5})))
    outcome = run_cli("evaluate", "m.safetensors", train_csv)
    assert outcome.status in (0, 2)


def test_folder_instead_of_a_model(run_cli, workplace):
    (workplace / "folder").mkdir()
    assert "folder;" in run_cli("info", "folder").error.removeprefix("error: folder")


def test_foreign_safetensors_file_has_a_hint(run_cli):
    header = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    Path("other.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"x")
    assert "; " in run_cli("info", "other.safetensors").error


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_standard_error_has_only_the_error(run_cli, model, command):
    rest = ["--out", "m.safetensors"] if command == "train" else []
    arguments = [command, *([model] if command == "evaluate" else []), "none.csv", *rest]
    assert len(run_cli(*arguments).err.splitlines()) == 1


def test_texts_without_words_name_the_file(run_cli):
    Path("dots.csv").write_text("text,label\n,x\n,y\n")
    assert "dots.csv" in run_cli("train", "dots.csv", "--out", "m.safetensors", *TINY).error


def test_missing_vocabulary_has_a_hint(run_cli, train_csv):
    arguments = ["--preset", "paper", "--vocabulary", "none.txt", "--out", "m.safetensors"]
    error = run_cli("train", train_csv, *arguments, "--epochs", 1, "--set", "network.width=4").error
    assert "Errno" not in error
    assert "; " in error


def test_seed_of_more_than_64_bits(run_cli, train_csv):
    assert "seed" in run_cli("train", train_csv, "--out", "m.safetensors", *TINY, "--seed", 2**64).error


def test_diverged_training_keeps_the_old_model(run_cli, train_csv, workplace):
    old = workplace / "old.safetensors"
    old.write_bytes(b"an older model")
    outcome = run_cli("train", train_csv, "--out", old, *TINY, "--lr", "1e30")
    assert outcome.status == 2
    assert old.read_bytes() == b"an older model"
