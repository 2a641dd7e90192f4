"""Pairs of texts on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

import token2wave
from tests.cli.conftest import Cli

PAIR = ["a tale of chess", "a song"]


@pytest.fixture(scope="module")
def pair_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "m.safetensors"
    pairs, labels = [("a tale", "a tale"), ("a tale", "a song")] * 20, ["same", "other"] * 20
    settings = {"features.bits": 12}
    token2wave.train(
        pairs, labels, pair=True, preset="fast", epochs=1, baseline=False, settings=settings
    ).classifier.save(path)
    return path


def test_both_texts_are_printed_and_written(run_cli: Cli, pair_model: Path, tmp_path: Path) -> None:
    assert run_cli("predict", pair_model, *PAIR).out.rstrip().split("\t")[2:] == PAIR
    for arguments, stdin in ((PAIR, b""), ([], "\t".join(PAIR).encode())):
        out = tmp_path / f"{len(arguments)}.csv"
        assert run_cli("predict", pair_model, *arguments, "--out", out, stdin=stdin).status == 0
        header, row = out.read_text("utf-8-sig").splitlines()
        assert header.split(",")[:2] == ["text", "text_pair"]
        assert row.split(",")[:2] == PAIR


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.txt", "a tale\ta song\n", "found a .txt file, whose lines are texts"),
        ("rows.csv", "q1,q2\na,b\n", "name both: --text-column first,second"),
    ],
)
def test_files_without_the_two_columns_are_refused(
    run_cli: Cli, pair_model: Path, tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    outcome = run_cli("predict", pair_model, "--file", tmp_path / name)
    assert message in outcome.error
    assert name in outcome.error
