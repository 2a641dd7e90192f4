from __future__ import annotations

import json
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from report_data import BASELINE, CAVEATS, a_summary, without_evaluation, without_test_set

from token2wave import versions as versions_module
from token2wave.formatting import columns, count, duration, percent, printable, shorten, size
from token2wave.metrics import evaluate_decisions, evaluate_predictions, majority_score
from token2wave.reporting.summary import headline, render_summary, verdict
from token2wave.training import result as module
from token2wave.training.loop import Epoch
from token2wave.training.result import Summary, machine
from token2wave.versions import versions

FIRST_KEYS = [
    "accuracy",
    "macro_f1",
    "validation_accuracy",
    "train_seconds",
    "total_seconds",
    "texts_per_second",
    "peak_memory_bytes",
    "parameters",
    "parameters_without_embedding",
    "model_bytes",
    "preset",
    "operation",
    "epochs",
    "seed",
    "rows",
]
OTHER_KEYS = [
    "data",
    "caveats",
    "train_rows",
    "validation_rows",
    "test_rows",
    "best_epoch",
    "refit",
    "history",
    "evaluation",
    "evaluated_on",
    "label_names",
    "baseline",
    "settings",
    "versions",
    "machine",
    "command",
    "majority",
    "cv",
    "micro_f1",
    "validation_micro_f1",
    "max_bytes",
    "prior",
    "search",
    "label_cleaning",
    "traffic",
]


def test_to_dict_is_plain_json_with_the_promised_keys() -> None:
    summary = a_summary(baseline=BASELINE)
    plain = summary.to_dict()
    assert list(plain) == FIRST_KEYS + OTHER_KEYS
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["history"][0] == {
        "epoch": 1,
        "train_loss": 1.0,
        "train_accuracy": 0.5,
        "validation_loss": 1.25,
        "validation_accuracy": 0.375,
        "validation_macro_f1": None,
        "validation_micro_f1": None,
    }
    assert summary.evaluation is not None
    assert plain["evaluation"] == json.loads(json.dumps(summary.evaluation))
    assert plain["baseline"] == BASELINE
    assert plain["caveats"] == list(CAVEATS)
    assert Summary(**plain).to_dict() == plain
    assert render_summary(Summary(**plain)) == render_summary(summary)


def test_history_and_evaluation_may_be_objects() -> None:
    plain = a_summary()
    evaluation = evaluate_predictions(np.array([0, 1, 1]), np.array([0, 1, 0]), ("a", "b"))
    made = a_summary(history=[Epoch(**epoch) for epoch in plain.history], evaluation=evaluation)
    assert made.history == plain.history
    assert made.evaluation == evaluation.to_dict()


def test_to_dict_has_no_number_that_is_not_finite_and_nothing_foreign() -> None:
    history = (asdict(Epoch(1, float("inf"), 0.5, float("nan"), 0.5)),)
    settings = {
        "features": {"file": Path("a/b")},
        "network": {"dim": np.int64(3)},
        "recipe": {"rate": np.float32(0.5), "bad": np.float64("nan"), "on": np.bool_(True), "pair": (1, 2)},
    }
    plain = a_summary(history=history, settings=settings).to_dict()
    assert plain["history"][0]["train_loss"] is None
    assert plain["history"][0]["validation_loss"] is None
    assert plain["settings"] == {
        "features": {"file": str(Path("a/b"))},
        "network": {"dim": 3},
        "recipe": {"rate": 0.5, "bad": None, "on": True, "pair": [1, 2]},
    }
    json.dumps(plain, allow_nan=False)


def test_lines_say_everything_in_human_units() -> None:
    summary = a_summary(baseline=BASELINE, accuracy=0.8125, macro_f1=0.75)
    shown = render_summary(summary)
    text = "\n".join(shown)
    low, high = summary.evaluation["interval"]
    interval = f"95% interval {percent(low)} to {percent(high)}"
    assert f"Accuracy        81.25%  {interval}, on 60 test texts" in shown
    assert "  baseline      50.00%  naive Bayes  (+31.25 points)" in shown
    assert "  baseline      25.00%  naive Bayes  (+50.00 points)" in shown
    assert "Best epoch      3  of 4, by 100 validation rows" in shown
    assert "Language prior  none" in shown
    assert "Language prior  English" in render_summary(a_summary(prior="en"))
    assert "87.50%" not in text  # one accuracy, not that of the rows that chose
    for part in (
        "1 min 23 s  (1 min 31 s in all; baseline 500 ms)",
        "15,234 texts/s",
        "812 MB",
        "7,712,345  (1,182,340 without the embedding)",
        "30.9 MB",
        "class 2",
    ):
        assert part in text
    for caveat in CAVEATS:
        assert f"Note: {caveat}" in shown


def right(n_right: int, n_rows: int) -> dict[str, object]:
    """Changes of a summary: so many of the rows were right."""
    truth = np.arange(n_rows) % 2
    evaluation = evaluate_predictions(
        truth, np.where(np.arange(n_rows) < n_right, truth, 1 - truth), ("a", "b")
    )
    return {"evaluation": evaluation, "accuracy": evaluation.accuracy, "macro_f1": evaluation.macro_f1}


HEADLINES = {
    "86.3% of 1,210 test texts were right (95% interval 84% to 88%)": right(1_044, 1_210),
    "82.0% of 250 held-back rows were right (95% interval 77% to 86%); the most frequent class alone would "
    "give 31%; a plain TF-IDF model 82.6%": right(205, 250)
    | {"evaluated_on": "held-out", "majority": 0.3111, "baseline": BASELINE | {"accuracy": 0.826}},
    "75% of 20 rows were right, each predicted by a model that has not seen it (95% interval 53% to 89%); "
    "the most frequent class alone would give 50%": right(15, 20)
    | {"evaluated_on": "cross-validation", "majority": 0.5},
    "100% of 1 test text was right (95% interval 21% to 100%)": right(1, 1),
    "99.98% of 5,000 test texts were right (95% interval 99.9% to 99.996%)": right(4_999, 5_000),
    "How good the model is could not be measured: there are too few rows to hold any out. Add rows, or name "
    "labelled texts with --test.": {"evaluation": None, "accuracy": None},
}


@pytest.mark.parametrize("words", HEADLINES)
def test_the_headline_says_in_words_how_many_rows_were_right(words: str) -> None:
    summary = a_summary(**HEADLINES[words])
    assert headline(summary) == render_summary(summary)[0] == words


def test_the_headline_of_several_labels_says_how_many_labels_were_right() -> None:
    truth = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [1, 0, 0]], dtype=bool)
    predicted = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0]], dtype=bool)  # 4 of 5 right, of 6 true
    evaluation = evaluate_decisions(truth, predicted, ("a", "b", "c"))
    changes = {"evaluation": evaluation, "micro_f1": evaluation.micro_f1, "validation_micro_f1": 0.5}
    words = headline(a_summary(**changes, majority=0.6, baseline=BASELINE | {"micro_f1": 0.5}))
    assert words.startswith(
        "On 4 test texts 80% of the labels given were right and 67% of the true labels were given: "
        "micro-F1 73% "
    )
    assert words.endswith("); always the most frequent labels would give 60%; a plain TF-IDF model 50%")


def test_the_most_frequent_class_is_that_of_training() -> None:
    assert majority_score(np.array([1, 0, 0, 2]), np.array([0, 1, 1, 2])) == 0.25
    # Two rows of three have a, one has b: a alone is best in training, 2 * 2 / (3 + 3).
    train = np.array([[1, 0], [1, 0], [0, 1]], dtype=bool)
    truth = np.array([[1, 0], [0, 1], [0, 0]], dtype=bool)
    assert majority_score(train, truth) == pytest.approx(2 * 1 / (3 + 2))
    # Where every row has both, both are given.
    assert majority_score(np.ones((3, 2), dtype=bool), truth) == pytest.approx(2 * 2 / (6 + 2))


@pytest.mark.parametrize(
    ("evaluated_on", "where", "rows"),
    [
        ("held-out", "on 60 held-out rows by a model trained without them", "held-out rows"),
        (
            "cross-validation",
            "cross-validated: 60 rows, each by a model trained without it",
            "cross-validated rows",
        ),
    ],
)
def test_lines_without_a_test_set_name_the_rows(evaluated_on: str, where: str, rows: str) -> None:
    shown = render_summary(without_test_set(evaluated_on=evaluated_on))
    assert any(line.startswith("Accuracy") and where in line for line in shown)
    assert f"Classes, on the {rows}" in shown


def test_lines_of_a_run_without_evaluation_show_dashes() -> None:
    summary = without_evaluation(
        peak_memory_bytes=None, history=(), best_epoch=None, caveats=(), model_bytes=None, baseline=BASELINE
    )
    shown = render_summary(summary)
    assert not any(line.startswith(("Note", "Classes")) for line in shown)
    text = "Accuracy        -  not measured: there is no test set, and too few rows to hold any out"
    assert text in shown
    for name in ("Macro-F1", "Best epoch", "Peak memory", "Model file"):
        assert f"{name:14}  -" in shown
    assert not any("None" in line or "nan" in line for line in shown)


def test_lines_say_that_a_run_stopped_early() -> None:
    lines = render_summary(a_summary(epochs=9))
    assert any("3  of 4, stopped early; 9 asked for, by 100 validation rows" in line for line in lines)


def test_lines_of_many_classes_show_the_weakest() -> None:
    summary = a_summary(77)
    assert summary.evaluation is not None
    shown = render_summary(summary)
    table = shown[shown.index("Classes, on the test texts: the 20 of 77 with the lowest F1") + 2 :]
    weakest = sorted(summary.evaluation["classes"], key=lambda score: float(score["f1"]))[:20]
    assert [line[2:12].strip() for line in table] == [score["label"] for score in weakest]


def test_lines_hold_no_control_characters_and_stay_aligned() -> None:
    names = ("a\x1b[31mb\nc", "日本語", "\u202eevil", "x" * 300, "")
    shown = render_summary(a_summary(label_names=names, data="d\x07"))
    table = shown[shown.index("Classes, on the test texts") + 1 :]
    assert all(line.isprintable() for line in shown)
    assert len({columns(line) for line in table}) == 1
    assert max(map(len, table)) < 80


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (0.0, "0 ms"),
        (0.0421, "42 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3599.6, "1 h 0 min"),
        (7290, "2 h 2 min"),
    ],
)
def test_duration(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("n_bytes", "shown"),
    [
        (None, "-"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (12_345_678, "12.3 MB"),
        (5 * 10**15, "5e+03 TB"),
    ],
)
def test_size(n_bytes: int | None, shown: str) -> None:
    assert size(n_bytes) == shown


def test_percent_and_count() -> None:
    assert [percent(x) for x in (None, float("inf"), 0.0, 0.91234, 1.0)] == [
        "-",
        "-",
        "0.00%",
        "91.23%",
        "100.00%",
    ]
    assert [count(x) for x in (None, float("nan"), 0, 3, 2.54, 1234.6)] == [
        "-",
        "-",
        "0",
        "3",
        "2.5",
        "1,235",
    ]


def test_printable_and_shorten() -> None:
    assert printable("a\x00b\ud800 \t\nc\u202e\uffff") == "a�b� c�"
    assert shorten("short", 5) == "short"
    assert shorten("shorter", 5) == "shor…"
    assert shorten("日本語", 5) == "日本…"
    assert shorten("日本", 4) == "日本"
    assert shorten("日本語", 4) == "日…"
    assert shorten("e\u0301" * 5, 4) == "e\u0301" * 3 + "…"
    assert shorten("two words", 5) == "two…"
    assert columns(shorten("日" * 50, 24)) <= 24


def test_machine_names_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Fast: CPU 3\nmodel name\t: other\n")
    monkeypatch.setattr(module, "CPUINFO", cpuinfo)
    described = {
        "processor": "Fast: CPU 3",
        "threads": 3,
        "platform": platform.platform(),
        "device": "cuda:0",
    }
    assert machine(3, "cuda:0") == described


@pytest.mark.parametrize("content", [None, "processor: 0\nmodel name:\n"])
def test_machine_falls_back(content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    if content is not None:
        cpuinfo.write_text(content)
    monkeypatch.setattr(module, "CPUINFO", cpuinfo)
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert machine(1, "cpu")["processor"] == platform.machine()


def test_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    found = versions()
    assert list(found) == ["python", "token2wave", "numpy", "torch", "tokenizers", "safetensors"]
    assert found["python"] == platform.python_version()
    assert found["numpy"] == np.__version__
    monkeypatch.setattr(versions_module, "PACKAGES", ("token2wave", "no-such-package-of-ours"))
    assert versions()["no-such-package-of-ours"] == "unknown"


def test_module_itself_imports_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys, types; package = types.ModuleType('token2wave.training');"
        f"package.__path__ = [{str(Path(module.__file__).parent)!r}];"
        "sys.modules['token2wave.training'] = package;"
        "import token2wave.reporting.report;"
        "raise SystemExit(','.join({'torch', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


NUMBERS = "about {} of 100 texts get the right class, where the most frequent class alone would give 25"
FEW = "; only 60 rows were checked, so it may well be better or worse"


@pytest.mark.parametrize(
    ("accuracy", "interval", "expected"),
    [
        (0.9, (0.88, 0.92), f"good: {NUMBERS.format(90)}"),
        (0.7, (0.68, 0.72), f"fair: {NUMBERS.format(70)}"),
        (0.5, (0.48, 0.52), f"weak: {NUMBERS.format(50)}"),
        (
            0.3,
            (0.24, 0.36),
            "not good: it may be no better than always answering with the most frequent class",
        ),
        (0.9, (0.8, 0.95), f"good: {NUMBERS.format(90)}{FEW}"),
    ],
)
def test_verdict_in_words(accuracy: float, interval: tuple[float, float], expected: str) -> None:
    evaluation = {**a_summary().evaluation, "accuracy": accuracy, "interval": interval, "rows": 60}  # type: ignore[dict-item]
    assert verdict(a_summary(evaluation=evaluation, majority=0.25)) == f"This model is {expected}."


def test_verdict_of_other_models() -> None:
    assert verdict(without_evaluation()).startswith("Nobody can say whether this model is good")
    evaluation = {**a_summary().evaluation, "accuracy": 0.9, "interval": (0.88, 0.92)}  # type: ignore[dict-item]
    better = {**BASELINE, "accuracy": 0.95}
    assert "but a plain TF-IDF model does better." in verdict(
        a_summary(evaluation=evaluation, baseline=better)
    )
    several = {**evaluation, "micro_f1": 0.9}
    assert "its labels agree with the true ones to about 90 of 100" in verdict(a_summary(evaluation=several))
    for spearman, low, word in (
        (0.9, 0.8, "good"),
        (0.6, 0.5, "fair"),
        (0.2, 0.1, "weak"),
        (0.2, -0.1, "not good"),
    ):
        scores = {"spearman": spearman, "intervals": {"spearman": (low, 1.0)}}
        assert verdict(a_summary(evaluation={**evaluation, "scores": scores})).startswith(
            f"This model is {word}: "
        )
    scores = {"spearman": None, "intervals": {}}
    assert "do not differ" in verdict(a_summary(evaluation={**evaluation, "scores": scores}))
