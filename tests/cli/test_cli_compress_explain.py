"""``token2wave compress`` and ``token2wave explain``, inside this process."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from cli_helpers import CSV, POSITIVE, ROWS, TINY

import token2wave
from token2wave.errors import ConfigError

TEXTS = ["a great film. an awful end!", "", "tab\tand\nline \x1b[31m<b>\U0001f600"]


def test_compress(run_cli, model, train_csv):
    outcome = run_cli("compress", model, "--out", "small.safetensors", "--data", train_csv)
    assert outcome.status == 0
    assert "\nNote: The model has learned from all texts" in outcome.err
    previous, after = model.stat().st_size, Path("small.safetensors").stat().st_size
    assert after < previous
    lines = outcome.out.splitlines()
    assert lines[-1] == "model: small.safetensors"
    assert [line.split()[0] for line in lines[-5:-1]] == ["Size", "Rows", "100.00%", "Accuracy"]
    assert "validation texts have the same labels before and after" in lines[-3]
    assert "not measured: the model has learned from all these rows" in lines[-2]
    assert "int8" in outcome.out
    predicted = run_cli("predict", "small.safetensors", *POSITIVE, "--json").document
    assert [entry["label"] for entry in predicted] == token2wave.load(model).labels(list(POSITIVE))


def test_compress_json(run_cli, model, train_csv):
    options = ["--max-size", "4500", "--storage", "float16", "--no-retrain", "--data", train_csv, "--json"]
    outcome = run_cli("compress", model, "--out", "small.safetensors", *options)
    document = outcome.document
    assert document["accuracy_before"] is document["accuracy_after"] is document["evaluated_on"] is None
    assert 0 <= document["agreement"] <= 1
    assert outcome.out.count("\n") == 1
    assert (
        document["bytes_after"] == Path("small.safetensors").stat().st_size <= 4_500 == document["max_size"]
    )
    assert document["bytes_before"] == model.stat().st_size
    assert (
        document["rows_after"]
        == token2wave.load("small.safetensors").features.n_rows
        < document["rows_before"]
    )
    assert (document["storage"], document["retrained"]) == ("float16", False)
    assert document["validation_rows"] == len(ROWS) // 10
    info = run_cli("info", "small.safetensors", "--json").document
    assert info["training"]["compression"]["storage"] == "float16"
    assert info["model_bytes"] == document["bytes_after"]


def test_compress_passes_its_options_on(run_cli, monkeypatch):
    calls = []

    def compress(*arguments, callbacks, **options):
        calls.append((arguments, options))
        raise ConfigError("enough")

    monkeypatch.setattr("token2wave.compression.compress", compress)
    defaults = {"data": "d", "test": None, "max_size": None, "storage": "auto", "retrain": True}
    defaults |= {"skip_bad_rows": False, "text_column": "text", "label_column": "label", "overwrite": False}
    defaults |= {"delimiter": None, "encoding": None, "header": None, "quoting": "auto"}
    others = {"data": "d", "test": "t.csv", "max_size": "1MB", "storage": "int8", "retrain": False}
    others |= {"skip_bad_rows": False, "text_column": "t", "label_column": "l", "overwrite": True}
    others |= {"delimiter": ";", "encoding": "cp1252", "header": False, "quoting": "none"}
    arguments = [
        "--data",
        "d",
        "--test",
        "t.csv",
        "--max-size",
        "1MB",
        "--storage",
        "int8",
        "--no-retrain",
        "--text-column",
        "t",
        "--label-column",
        "l",
        *("--delimiter", ";", "--encoding", "cp1252", "--no-header", "--quoting", "none"),
        "--overwrite",
    ]
    for extra, expected in ((["--data", "d"], defaults), (arguments, others)):
        assert run_cli("compress", "m", "--out", "n", *extra).error == "error: enough"
        assert calls.pop() == ((Path("m"), Path("n")), expected)


def test_compress_replaces_the_model_only_if_asked(run_cli, model, train_csv):
    own = Path("own.safetensors")
    own.write_bytes(model.read_bytes())
    command = ["compress", own, "--out", own, "--data", train_csv]
    assert "replace it with --overwrite" in run_cli(*command).error
    assert run_cli(*command, "--overwrite").status == 0
    assert token2wave.load(own).training["compression"]["storage"] == "int8"


def test_compress_columns(run_cli, model):
    rows = [line.replace(",", "\t") for line in CSV.splitlines()[1:]]
    Path("other.tsv").write_text(
        "\n".join(["id\tbody\tmood", *(f"{i}\t{row}" for i, row in enumerate(rows))])
    )
    columns = ["--text-column", "body", "--label-column", "mood"]
    assert run_cli("compress", model, "--out", "small", "--data", "other.tsv", *columns).status == 0
    assert "'text'" in run_cli("compress", model, "--out", "small", "--data", "other.tsv").error


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--max-size", "1kB"], ["max_size", "1,000 bytes as lzma", "allow more bytes"]),
        (["--max-size", "0"], ["max_size", "1MB or 300kB", "'0'"]),
        (["--max-size", "-1"], ["max_size", "'-1'"]),
        (["--max-size", "x"], ["max_size", "'x'"]),
        (["--storage", "int4"], ["storage", "lzma", "'int4'"]),
        (["--data", "nowhere.csv"], ["nowhere.csv", "there is no such file"]),
        (["--data", "labels.csv"], ["labels.csv", "'meh'", "'neg', 'pos'"]),
        (["--label-column", "mood"], ["'mood'", "'text', 'label'"]),
    ],
)
def test_compress_errors(run_cli, model, train_csv, arguments, expected):
    Path("labels.csv").write_text(CSV + "a film,meh\n")
    Path("old.safetensors").write_bytes(b"an older model")
    if "--data" not in arguments:
        arguments = [*arguments, "--data", train_csv]
    error = run_cli("compress", model, "--out", "old.safetensors", "--overwrite", *arguments).error
    for text in expected:
        assert text in error
    assert Path("old.safetensors").read_bytes() == b"an older model"
    assert sorted(os.listdir()) == ["labels.csv", "old.safetensors", "reviews.csv"]


def test_compress_output_that_cannot_be_written(run_cli, model, train_csv):
    assert "none: there is no such file" in run_cli("compress", "none", "--out", "small", "--data", "d").error
    for path in ("none/small", train_csv / "small", "/proc/small"):
        assert str(path) in run_cli("compress", model, "--out", path, "--data", train_csv).error
    outcome = run_cli("compress", model)
    assert (outcome.status, outcome.out) == (2, "")
    assert "--out" in outcome.err


# Explaining -----------------------------------------------------------------------------------------


def test_explain_prints_prediction_and_words(run_cli, model):
    outcome = run_cli("explain", model, "a great film", "an awful film")
    assert (outcome.status, outcome.err) == (0, "")
    classifier = token2wave.load(model)
    for text in ("a great film", "an awful film"):
        prediction = classifier.predict(text)
        assert f"{prediction.label} {100 * prediction.probability:.2f}%" in outcome.out
    assert re.search(r"a \[[+-]great[+-]\]|a great", outcome.out)
    assert "\x1b" not in run_cli("explain", model, *TEXTS).out


@pytest.mark.parametrize("unit", ["token", "word", "sentence", None])
def test_explain_json_is_the_python_api(run_cli, model, unit):
    outcome = run_cli("explain", model, *TEXTS, "--json", *(["--unit", unit] if unit else []))
    classifier = token2wave.load(model)
    assert outcome.out.count("\n") == 1
    expected = [classifier.explain(text, unit or "word").to_dict() for text in TEXTS]
    assert outcome.document == json.loads(json.dumps(expected))
    first = outcome.document[0]
    assert first["unit"] == (unit or "word")
    assert len(first["parts"]) == {"sentence": 2}.get(unit, 8)
    for entry in first["parts"]:
        assert first["text"][entry["start"] : entry["end"]] == entry["text"]


def test_explain_effects_equal_removing_words(run_cli, model):
    (document,) = run_cli("explain", model, "great lovely awful", "--json").document
    classifier = token2wave.load(model)
    whole = classifier.probabilities(["great lovely awful"])[0]
    for entry, rest in zip(document["parts"], ("lovely awful", "great awful", "great lovely"), strict=True):
        without = classifier.probabilities([rest])[0]
        assert entry["effects"] == pytest.approx((whole - without).tolist(), abs=1e-5)
    assert sum(entry["energy"] for entry in document["parts"]) == pytest.approx(1)


def test_explain_html(run_cli, model):
    outcome = run_cli("explain", model, *TEXTS, "--html", "page.html")
    assert outcome.out.splitlines()[-1] == "page: page.html"
    page = Path("page.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert "Explained by model.safetensors" in page
    assert page.count('<section class="explanation"') == len(TEXTS)
    assert "<b>" not in page
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", page)
    quiet = run_cli("explain", model, "a film", "--html", "page.html", "--json")
    assert quiet.document[0]["text"] == "a film"
    assert quiet.out.count("\n") == 1
    assert "a film" not in page
    assert "an awful" not in Path("page.html").read_text(encoding="utf-8")


def test_explain_files_and_standard_input(run_cli, model):
    Path("t.csv").write_text("body\n" + "".join(text + "\n" for text in POSITIVE))
    outcome = run_cli("explain", model, "--file", "t.csv", "--text-column", "body", "--json")
    assert [entry["text"] for entry in outcome.document] == list(POSITIVE)
    outcome = run_cli("explain", model, "--json", stdin="great film\n\nbad \U0001f600".encode())
    assert [entry["text"] for entry in outcome.document] == ["great film", "", "bad \U0001f600"]
    assert run_cli("explain", model, "--json").document == []
    assert run_cli("explain", model, "--html", "none.html").status == 0
    assert "no texts" in Path("none.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a film", "--unit", "letter"], ["unit", "token, word, sentence", "'letter'"]),
        (["a film", "--file", "t.txt"], ["--file", "leave one of them out"]),
        (["--file", "none.txt"], ["none.txt"]),
        (["a film", "--html", "none/page.html"], ["none/page.html", "does not exist"]),
        (["a film", "--html", "."], ["found a folder"]),
    ],
)
def test_explain_errors(run_cli, model, workplace, arguments, expected):
    error = run_cli("explain", model, *arguments).error
    for text in expected:
        assert text in error
    assert os.listdir() == []


def test_explain_refuses_networks_that_do_not_compile(run_cli, workplace):
    assert "none: there is no such file" in run_cli("explain", "none", "a film").error
    pytest.importorskip("torch")
    Path("reviews.csv").write_text(CSV)
    deep = ["--set", "network.variants=linear", "--set", "network.layers=2", "--set", "network.readout=mean"]
    trained = run_cli(
        "train", "reviews.csv", "--out", "deep", *TINY, *deep, "--set", "recipe.embedding_optimizer=adam"
    )
    assert trained.status == 0, trained.err
    error = run_cli("explain", "deep", "a film", "--html", "page.html").error
    for text in ("cannot be compiled", "2 layers", "train a preset"):
        assert text in error
    assert not Path("page.html").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["compress"], "Missing argument"),
        (["compress", "m"], "--out"),
        (["compress", "m", "--out", "n"], "Missing option '--data'"),
        (["compress", "m", "--out", "n", "--data", "d", "--retrain", "maybe"], "unexpected extra argument"),
        (["explain"], "Missing argument"),
        (["explain", "m", "--html"], "requires an argument"),
    ],
)
def test_usage_errors(run_cli, arguments, text):
    outcome = run_cli(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert text in outcome.err
