"""Drift: no alarm on the same texts, alarms on others, and a reference in every model file."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import token2wave
from token2wave.cli import main as cli
from token2wave.drift_report import (
    LEVEL,
    MIN_ROWS,
    _chi_square_tail,
    _compare,
    _holm,
    _join_bins,
    compare_sums,
)
from token2wave.errors import ConfigError, DataError
from token2wave.inference.drift_sums import DriftSums

TINY: dict[str, Any] = {"preset": "fast", "epochs": 1, "settings": {"network.width": 8, "features.bits": 14}}


def topic(n: int, seed: int, words: str) -> list[str]:
    """Texts of a topic, of 4 to 20 words."""
    chance = random.Random(seed)

    def word() -> str:
        return f"{chance.choice(words + 'x')}{int(chance.expovariate(0.05))}"

    return [" ".join(word() for _ in range(chance.randint(4, 20))) for _ in range(n)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drift") / "model.safetensors"
    token2wave.train(topic(600, 0, "a") + topic(600, 1, "b"), ["a"] * 600 + ["b"] * 600, out=path, **TINY)
    return path


def fresh(n: int) -> list[str]:
    return topic(n, 2, "a") + topic(n, 3, "b")


def test_new_texts_of_the_same_kind_have_not_drifted(model: Path) -> None:
    result = token2wave.drift(model, fresh(300))
    assert result.verdict == "none", result
    assert [test.name for test in result.tests] == ["labels", "confidence", "unknown", "words"]
    assert result.headline == f"No drift: 600 texts against {result.reference.rows:,} of the reference."
    assert not result.changes


def test_other_labels_and_other_words_have(model: Path) -> None:
    result = token2wave.drift(model, topic(300, 2, "a") + topic(30, 3, "b"))
    verdicts = {test.name: test.verdict for test in result.tests}
    assert (verdicts["labels"], verdicts["words"]) == ("large", "none")
    assert {change.label for change in result.changes} == {"a", "b"}
    assert result.changes[0].now + result.changes[1].now == pytest.approx(1)
    foreign = token2wave.drift(model, topic(300, 2, "c"))
    assert {test.name for test in foreign.tests if test.verdict == "large"} >= {"unknown", "confidence"}
    assert foreign.verdict == "large"
    assert foreign.expected_accuracy < foreign.reference_accuracy
    tests = token2wave.drift(model, topic(300, 2, "c"), reference=fresh(300)).tests
    assert {test.name for test in tests if test.verdict == "large"} >= {"novelty", "unknown", "confidence"}


def test_a_difference_that_is_small_is_no_drift_however_sure(model: Path) -> None:
    """And one that is large is none if there are few texts."""
    sums = DriftSums.of_texts(token2wave.load(model), fresh(2_000))
    changed = replace(sums, labels=(sums.labels[0] + 200, sums.labels[1] - 200))
    result = compare_sums(token2wave.load(model), sums, changed)
    assert result.tests[0].p is not None
    assert result.tests[0].p < LEVEL
    assert result.tests[0].psi is not None
    assert result.tests[0].psi < 0.1
    assert result.verdict == "none"
    few = token2wave.drift(model, topic(MIN_ROWS - 1, 2, "c"))
    assert few.verdict == "too few"
    assert "at least 20 are needed" in few.headline


def test_the_reference_is_of_validation_texts_of_the_model_without_them(model: Path) -> None:
    classifier = token2wave.load(model)
    sums = classifier.drift_reference
    assert sums is not None
    assert 100 <= sums.n_measured <= 130  # a tenth of the rows
    assert sum(sums.novelty) == 0  # the model of all rows measures it with other weights
    settings = {**TINY["settings"], "recipe.refit_below": 0}
    texts, labels = topic(600, 0, "a") + topic(600, 1, "b"), ["a"] * 600 + ["b"] * 600
    unchanged = token2wave.train(texts, labels, **{**TINY, "settings": settings}).classifier.drift_reference
    assert unchanged is not None
    assert sum(unchanged.novelty) == unchanged.n_measured
    assert sums.rows >= sums.n_measured
    few = token2wave.train(["good film", "bad film", "good", "bad"], ["a", "b", "a", "b"], **TINY).classifier
    assert few.drift_reference is None
    with pytest.raises(ConfigError, match=r"without a drift reference|one without.*--reference"):
        token2wave.drift(few, fresh(30))
    assert token2wave.drift(few, fresh(30), reference=fresh(40)).reference.rows == 80


def test_few_rows_have_a_reference_of_all_by_cross_validation() -> None:
    classifier = token2wave.train(fresh(120), ["a"] * 120 + ["b"] * 120, **TINY).classifier
    sums = classifier.drift_reference
    assert sums is not None
    assert sums.rows == sum(sums.labels) == 240
    assert sums.n_measured < 50


def test_updates_drop_the_reference_and_say_so(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "token2wave")
    updated = token2wave.update(token2wave.load(model), fresh(20), ["a"] * 20 + ["b"] * 20)
    assert updated.drift_reference is None
    assert "no drift reference" in caplog.text


def test_compressed_models_keep_it(model: Path) -> None:
    data = topic(600, 0, "a") + topic(600, 1, "b"), ["a"] * 600 + ["b"] * 600
    out, reference = model.with_name("compressed"), token2wave.load(model).drift_reference
    token2wave.compress(model, out, data=data, storage="int8")
    assert token2wave.load(out).drift_reference == reference is not None
    limit, n_rows = out.stat().st_size // 2, token2wave.load(out).features.n_rows
    token2wave.compress(model, out, data=data, max_size=limit, storage="int8")
    pruned = token2wave.load(out)
    assert pruned.features.n_rows < n_rows
    assert pruned.drift_reference is not None
    assert pruned.drift_reference.labels == reference.labels
    assert token2wave.drift(pruned, fresh(200)).verdict == "none"


def test_data_of_every_kind_gives_the_same_result(model: Path, tmp_path: Path) -> None:
    texts = fresh(40)
    (tmp_path / "a.txt").write_text("\n".join(texts[:30]) + "\n")
    (tmp_path / "b.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in texts[30:]) + "{\n"
    )
    expected = token2wave.drift(model, texts)
    result = token2wave.drift(token2wave.load(model), [tmp_path / "a.txt", tmp_path / "b.jsonl"])
    assert result.new == expected.new
    assert result.notes == ("Rows that cannot be read, and are left out: 1.",)
    assert token2wave.drift(model, {"text": texts}).tests == expected.tests
    assert token2wave.drift(model, DriftSums.of_texts(token2wave.load(model), texts)).new == expected.new
    with pytest.raises(DataError, match="found none"):
        token2wave.drift(model, [])


def test_the_command_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    new, old = tmp_path / "new.txt", tmp_path / "old.txt"
    new.write_text("\n".join(topic(60, 4, "c")))
    old.write_text("\n".join(fresh(60)))
    printed = []
    for more in ([], ["--reference", str(old), "--json"]):
        monkeypatch.setattr("sys.argv", ["token2wave", "drift", str(model), str(new), *more])
        with pytest.raises(SystemExit, match="0"):
            cli.main()
        printed.append(capsys.readouterr().out)
    assert printed[0].startswith("Large drift of ")
    assert "\nunknown words     large (index " in printed[0]
    document = json.loads(printed[1])
    assert (document["verdict"], document["reference"]["rows"]) == ("large", 120)
    assert document["tests"][0].keys() == {"name", "verdict", "psi", "p"}


def test_statistics_are_those_of_the_books() -> None:
    """Tables of chi-square; Holm's own example; pooled bins; and the level of the test by simulation."""
    for value, n_free, tail in ((3.841, 1, 0.05), (5.991, 2, 0.05), (18.307, 10, 0.05), (135.807, 100, 0.01)):
        assert _chi_square_tail(value, n_free) == pytest.approx(tail, abs=1e-4)
    assert _chi_square_tail(0.0, 3) == 1.0
    assert _chi_square_tail(1e5, 3) == 0.0
    assert _holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert _join_bins((3, 3, 90, 2), (30, 30, 900, 20)) == [(6, 60), (92, 920)]
    assert _compare((50, 0), (60, 0)) == (0.0, 1.0)
    random = np.random.default_rng(0)
    results = [
        _compare(*random.multinomial((80, 2_000), [0.3, 0.3, 0.2, 0.1, 0.05, 0.05])) for _ in range(2_000)
    ]
    assert 0.03 < np.mean([p < 0.05 for _, p in results]) < 0.07
    assert np.mean([psi for psi, _ in results]) < 0.03


def test_labels_that_a_service_counts_together_are_compared_together(model: Path) -> None:
    classifier = token2wave.load(model)
    sums = DriftSums.of_texts(classifier, fresh(100))
    wide = replace(sums, labels=(100, 60, 30, 10))
    narrow = replace(sums, labels=(100, 100))
    result = compare_sums(replace(classifier, label_names=("a", "b", "c", "d")), wide, narrow)
    assert (result.tests[0].verdict, result.tests[0].p) == ("none", 1.0)


def test_a_model_that_is_surer_than_its_reference_has_not_drifted(model: Path) -> None:
    """It has learned from more rows. Compared with texts that you name, it has."""
    classifier = token2wave.load(model)
    sums = DriftSums.of_texts(classifier, fresh(300))
    low, high = (((600, *(0,) * 9), (600, *(0,) * 11)), ((*(0,) * 9, 600), (*(0,) * 11, 600)))
    surer = replace(sums, confidence=high[0], novelty=low[1])
    doubtful = replace(sums, confidence=low[0], novelty=high[1])

    def drifted(new: DriftSums, **options: bool) -> set[str]:
        tests = compare_sums(classifier, sums, new, **options).tests
        return {test.name for test in tests if test.verdict == "large"}

    assert drifted(surer, one_sided=True) == set()
    assert (
        drifted(surer) == drifted(doubtful) == drifted(doubtful, one_sided=True) == {"confidence", "novelty"}
    )
