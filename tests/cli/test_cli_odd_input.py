"""Odd files, texts and labels on the command line: each is used as it is meant, or named."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from token2wave.cli.main import app

ROWS = [(f"a great lamp {i}", "good") if i % 2 else (f"an awful kettle {i}", "bad") for i in range(60)]


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    return path


def run(*arguments: object) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, Exception) and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("odd")
    write(path / "train.csv", ROWS)
    write(path / "other.csv", [*ROWS[:8], ("a thing", "new"), ("a thing", "newer")])
    run("train", path / "train.csv", "--out", path / "m.safetensors", "--preset", "fast", "--epochs", 1)
    return path


def test_a_class_that_only_the_test_file_has_counts_as_wrong(folder: Path) -> None:
    result = run("evaluate", folder / "m.safetensors", folder / "other.csv", "--json")
    assert "Note: 2 of 10 test texts have labels without a class" in result.stderr
    figures = json.loads(result.stdout)
    assert figures["accuracy"] == 0.8
    assert figures["rows"] == 10
    arguments = ["--out", folder / "n.safetensors", "--preset", "fast", "--epochs", 1, "--json", "--baseline"]
    result = run("train", folder / "train.csv", "--test", folder / "other.csv", *arguments)
    summary = json.loads(result.stdout)
    assert any("2 of 10 test texts" in caveat for caveat in summary["caveats"])
    assert summary["evaluation"]["accuracy"] == 0.8
    info = json.loads(run("info", folder / "n.safetensors", "--json").stdout)
    assert "newer" not in json.dumps(info)


def test_texts_may_begin_with_a_dash(folder: Path) -> None:
    texts = ["a great lamp", "-5 degrees with a lamp", "-5", "--help me please", "a kettle"]
    for command in ("predict", "explain"):
        documents = json.loads(run(command, folder / "m.safetensors", *texts, "--json").stdout)
        assert [document["text"] for document in documents] == texts
    assert "No such option" in run("predict", folder / "m.safetensors", "--jsno", "a text").output


def test_a_zip_is_named(folder: Path) -> None:
    path = folder / "z.csv"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(folder / "train.csv")
    with pytest.raises(Exception, match="found zip data; unpack it"):
        run("predict", folder / "m.safetensors", "--file", path)


def test_a_filter_of_an_unknown_label_is_refused(folder: Path) -> None:
    write(folder / "texts.csv", ROWS)
    for keep in ("label == 'gud'", "label in ('good', 'gud')", "'gud' != label"):
        arguments = ["--output", folder / "out", "--prefix", "p_", "--keep", keep]
        with pytest.raises(Exception, match=r"there is no label 'gud'.*did you mean 'good'"):
            run("score", folder / "m.safetensors", folder / "texts.csv", *arguments)
