"""An evaluation lists wrong predictions with all columns, and scores groups of rows."""

from __future__ import annotations

import csv
import datetime
import json
import math

import numpy as np
import openpyxl
import pandas as pd
import pytest

import token2wave
from token2wave.data import TextSplit
from token2wave.data.texts import SourceTable
from token2wave.errors import ConfigError, DataError, OutputError
from token2wave.evaluation import MAX_GROUPS, error_rows, group_rows
from token2wave.metrics import score_groups

GOOD, BAD = "lovely splendid superb", "dreadful awful poor"
OWN = ["row", "label", "predicted", "probability", "label_probability", "novelty"]


def rows(n=20):
    """Every fifth label is wrong."""
    return [
        {
            "id": f"=cell{i}",
            "text": f"{(GOOD, BAD)[i % 2]} film {i}",
            "label": ("good", "bad")[(i + (i % 5 == 0)) % 2],
        }
        for i in range(n)
    ]


@pytest.fixture(scope="module")
def classifier():
    texts = [f"{words} film {i}" for i in range(30) for words in (GOOD, BAD)]
    return token2wave.train(
        texts, ["good", "bad"] * 30, preset="fast", settings={"network.width": 8}
    ).classifier


def write(path, rows):
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif path.suffix == ".xlsx":
        pd.DataFrame(rows).to_excel(path, index=False)
    elif path.suffix == ".txt":
        path.write_text("".join(f"__label__{row['label']} {row['text']}\n" for row in rows))
    else:
        pd.DataFrame(rows).to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")


def read(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


@pytest.mark.parametrize(
    "suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".xlsx", ".txt", "folder", "memory"]
)
def test_the_table_keeps_all_columns(classifier, tmp_path, suffix):
    data = tmp_path / f"data{suffix}"
    if suffix == "memory":
        data = pd.DataFrame(rows())
    elif suffix == "folder":
        (data := tmp_path / "set").mkdir()
        write(data / "train.csv", rows(4))
        write(data / "test.csv", rows())
    else:
        write(data, rows())
    # Where a column of the input starts with =, pandas writes .xlsx with a formula, which has no value.
    result = token2wave.evaluate(classifier, data, errors=tmp_path / "wrong.csv")
    table = read(tmp_path / "wrong.csv")
    wrong = [i for i, row in enumerate(rows()) if i % 5 == 0]
    assert sorted(int(row["row"]) for row in table) == [i + 1 for i in wrong]
    assert list(table[0]) == [*OWN, *(["id"] if suffix != ".txt" else []), "text"]
    for row in table:
        source = rows()[int(row["row"]) - 1]
        assert (row["label"], row["text"]) == (source["label"], source["text"])
        assert row["predicted"] == {"good": "bad", "bad": "good"}[row["label"]]
        assert float(row["probability"]) + float(row["label_probability"]) == pytest.approx(1, abs=1e-3)
        assert suffix in (".txt", ".xlsx") or row["id"] == f"'{source['id']}"  # no formula
    probabilities = [float(row["probability"]) for row in table]
    assert probabilities == sorted(probabilities, reverse=True)
    assert result.errors["row"] == [int(row["row"]) for row in table]
    assert "errors" not in result.figures
    token2wave.evaluate(classifier, data, errors=tmp_path / "wrong.csv")  # its own table is replaced


def test_columns_with_the_names_of_ours_are_kept_beside_them(classifier, tmp_path):
    """As when a table of wrong predictions is evaluated again."""
    data = [{**row, "row": 7, "predicted": "x", "input_row": [1, {"a": math.inf}]} for row in rows()]
    errors = token2wave.evaluate(classifier, data, errors=tmp_path / "wrong.tsv").errors
    assert list(errors) == [*OWN, "id", "text", "input_row", "input_predicted", "input_input_row"]
    assert errors["input_row"][0] == 7
    assert errors["input_input_row"][0] == '[1, {"a": Infinity}]'
    renamed = [{**row, "label": row["label"].upper()} for row in rows()]
    errors = token2wave.evaluate(classifier, renamed, normalise_labels=True, errors=tmp_path / "w.csv").errors
    assert {*errors["label"]} == {"good", "bad"}
    assert {*errors["input_label"]} == {"GOOD", "BAD"}


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_other_columns_may_hold_anything(classifier, tmp_path, suffix):
    odd = ["\ud800 half\uffff", "\x00\x1b[2J", "=1+1", None, math.nan, pd.NaT, b"bytes", "x" * 40_000]
    odd += [datetime.date(2026, 1, 2), np.int64(3), np.array([1, 2]), {"k": "\ud800"}]
    data = [{**row, "label": "bad", "text": GOOD, "odd": odd[i % len(odd)]} for i, row in enumerate(rows(24))]
    errors = token2wave.evaluate(classifier, [*data, rows()[1]], errors=tmp_path / f"wrong{suffix}").errors
    cells = dict(zip(errors["row"], errors["odd"], strict=True))
    assert [cells[i] for i in (4, 5, 6)] == ["", "", ""]
    assert [cells[i] for i in (9, 10, 11)] == ["2026-01-02", 3, "[1, 2]"]
    assert (tmp_path / f"wrong{suffix}").stat().st_size > 1000
    if suffix == ".xlsx":  # a spreadsheet opens it, and computes nothing
        _, *table = openpyxl.load_workbook(tmp_path / "wrong.xlsx").active.values
        written = {row[0]: row[list(errors).index("odd")] for row in table}
        assert (written[1], written[3]) == ("\\ud800 half", "'=1+1")
        assert written[2].removeprefix("'") == "[2J"


def test_labels_without_a_class_and_bad_rows_keep_their_numbers(classifier, tmp_path):
    (tmp_path / "data.csv").write_text(f"text,label\n{GOOD},good\n{GOOD},\n{BAD},odd\n{BAD},bad\n")
    errors = token2wave.evaluate(classifier, tmp_path / "data.csv", skip_bad_rows=True).errors
    assert (errors["row"], errors["label"], errors["label_probability"]) == ([3], ["odd"], [0.0])
    assert errors["text"] == [BAD]


def test_several_labels_have_missed_and_extra_ones():
    truth = np.array([[True, False, False], [False, True, True], [True, True, False]])
    predicted = np.array([[True, True], [False, True], [True, True]])
    probabilities = np.array([[0.9, 0.7], [0.4, 0.8], [0.9, 0.9]])
    labels = [["a"], ["b", "odd"], ["a", "b"]]
    columns = {"text": ["x", "y", "z"], "label": ["a", "b|odd", "a|b"], "tags": [["a"], [], None]}
    split = TextSplit(["x", "y", "z"], labels, "made-up", table=SourceTable(columns, ("text",), "label"))
    errors = error_rows(split, ("a", "b"), truth, predicted, probabilities, None)
    assert errors == {
        "row": [2, 1],
        "label": ['["b", "odd"]', '["a"]'],
        "predicted": ['["b"]', '["a", "b"]'],
        "missed": ['["odd"]', "[]"],
        "extra": ["[]", '["b"]'],
        "probability": [1.0, 0.7],
        "novelty": ["", ""],
        "text": ["y", "x"],
        "input_label": ["b|odd", "a"],
        "tags": ["[]", '["a"]'],
    }


def test_nothing_wrong_is_a_table_without_rows(classifier, tmp_path):
    data = [(GOOD, "good"), (BAD, "bad")]
    token2wave.evaluate(classifier, data, errors=tmp_path / "wrong.csv")
    assert read(tmp_path / "wrong.csv") == []
    with pytest.raises(ConfigError, match=r"ends in .csv"):
        token2wave.evaluate(classifier, data, errors=tmp_path / "wrong.html")
    (tmp_path / "mine.csv").write_text("text,label\n")
    with pytest.raises(OutputError, match="file of another kind"):
        token2wave.evaluate(classifier, data, errors=tmp_path / "mine.csv")
    token2wave.evaluate(classifier, data, errors=tmp_path / "mine.csv", overwrite=True)


def names_of(values, column="c"):
    split = TextSplit(
        [""] * len(values), ["x"] * len(values), "made-up", table=SourceTable({column: values}, (), "")
    )
    index, names = group_rows(split, column)
    assert np.bincount(index, minlength=len(names)).all()
    return [names[i] for i in index], list(names)


def test_values_become_groups():
    assert names_of(["de", " en", "en", None, "", math.nan]) == (
        ["de", "en", "en", "(missing)", "(missing)", "(missing)"],
        ["en", "de", "(missing)"],
    )
    dates = ["2026-02-03", "2026-01-31T10:00:00Z", "2026-02-01 00:00:00", None]
    assert names_of(dates)[0] == ["2026-02", "2026-01", "2026-02", "(missing)"]
    assert names_of(dates)[1] == ["2026-01", "2026-02", "(missing)"]
    assert names_of([pd.Timestamp("2026-01-02"), datetime.date(2026, 1, 3), pd.NaT])[1] == [
        "2026-01",
        "(missing)",
    ]
    assert names_of(["20260102", "2026-13-01"])[1] == ["20260102", "2026-13-01"]  # no dates
    assert names_of([None, ""]) == (["(missing)"] * 2, ["(missing)"])
    assert names_of(["(missing)", None])[1] == ["(missing)", "(missing)"]
    assert names_of([1, 1.0, True, [1]])[1] == ["1", "1.0", "True", "[1]"]


def test_many_values_are_the_largest_and_the_rest():
    values = [f"customer {i}" for i in range(10_000) for _ in range(3 if i in (5, 9) else 2 if i < 40 else 1)]
    found, names = names_of([*values, None])
    assert len(names) == MAX_GROUPS + 2
    assert set(names[:2]) == {"customer 5", "customer 9"}
    assert names[-2:] == ["(missing)", "(9,970 others)"]
    assert found[-1] == "(missing)"
    assert names_of([f"id {i}" for i in range(100)])[1] == ["(100 others)"]  # single rows say nothing


def test_many_numbers_are_bins():
    found, names = names_of([*(f"{i / 2}" for i in range(200)), None])
    assert names == ["0 to 19.5", "20 to 39.5", "40 to 59.5", "60 to 79.5", "80 to 99.5", "(missing)"]
    assert found[40:42] == ["20 to 39.5", "20 to 39.5"]
    assert names_of([*map(str, range(40)), "nan"] * 2)[1][0] == "0"  # a text among them
    assert names_of([1e12 + i for i in range(40)])[1][0].startswith("1,000,000,000,000 to ")
    assert names_of(["1e999", *map(str, range(100))])[1][-1].startswith("81 to ")  # beyond what a float holds


def test_length_is_the_number_of_words_unless_a_column_has_that_name():
    split = TextSplit(["a", "a b", "a b", "a b c", ""], ["x"] * 5, "made-up")
    index, names = group_rows(split, "length")
    assert [names[i] for i in index] == ["1 to 1", "2 to 2", "2 to 2", "3 to 3", "0 to 0"]
    assert names_of(["long", "short"], "length")[1] == ["long", "short"]
    with pytest.raises(DataError, match=r"there is no column 'lang'.*--by, or length"):
        group_rows(split, "lang")


def test_groups_are_tested_against_chance():
    """scipy's Fisher test is the model, and Holm's correction is for the number of groups."""
    stats = pytest.importorskip("scipy.stats")
    sizes, n_wrong = [400, 60, 50, 30, 1], [40, 24, 6, 9, 1]
    groups = np.repeat(np.arange(5), sizes)
    wrong = np.concatenate([np.arange(n) < k for n, k in zip(sizes, n_wrong, strict=True)])
    truth = np.random.default_rng(0).integers(0, 3, len(groups))
    predicted = np.where(wrong, (truth + 1) % 3, truth)
    scores = score_groups(groups, list("abcde"), truth, predicted)
    for i, score in enumerate(scores):
        mask = groups == i
        table = [[wrong[mask].sum(), (~wrong[mask]).sum()], [wrong[~mask].sum(), (~wrong[~mask]).sum()]]
        assert score.p_value == pytest.approx(stats.fisher_exact(table, "greater").pvalue)
        assert (score.rows, score.accuracy) == (sizes[i], pytest.approx(1 - wrong[mask].mean()))
    p_values = [score.p_value for score in scores]
    corrected = np.maximum.accumulate(np.sort(p_values) * np.arange(5, 0, -1))
    expected = {list("abcde")[i] for i, p in zip(np.argsort(p_values), corrected, strict=True) if p <= 0.05}
    assert {score.name for score in scores if score.is_worse} == expected
    assert expected == {"b"}
    assert 0.0125 < p_values[3] < 0.05  # d would count without the correction


def test_equal_groups_are_rarely_called_worse():
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(20), 50)
    n_alarms = 0
    for _ in range(200):
        predicted = (random.random(1000) < 0.2).astype(int)
        scores = score_groups(groups, list(map(str, range(20))), np.zeros(1000, int), predicted)
        n_alarms += any(score.is_worse for score in scores)
    assert n_alarms <= 20  # 5 % of 200 are 10


def test_figures_have_groups_and_coverage(classifier):
    data = [{**row, "lang": "x" if i % 5 == 0 else "y\ud800"} for i, row in enumerate(rows(100))]
    result = token2wave.evaluate(classifier, data, by=["lang", "length"])
    worse, others = sorted(result.figures["by"]["lang"], key=lambda group: group["accuracy"])
    assert (worse["name"], worse["accuracy"], worse["is_worse"], worse["rows"]) == ("x", 0.0, True, 20)
    assert (others["accuracy"], others["is_worse"], others["macro_f1"]) == (1.0, False, 1.0)
    assert "worse, by lang" in repr(result)
    points = result.figures["coverage"]
    assert [round(point["coverage"], 2) for point in points][:2] == [1.0, 0.95] or len(points) == 20
    assert points[0]["accuracy"] == result.accuracy
    thresholds = [point["threshold"] for point in points]
    assert thresholds == sorted(thresholds)
    json.dumps(result.figures)


def test_groups_of_several_labels_have_micro_f1():
    truth = np.array([[True, False, True], [False, True, False]])
    score, other = score_groups(np.array([0, 1]), ["a", "b"], truth, np.array([[True, False], [False, True]]))
    assert (score.accuracy, score.micro_f1) == (0.0, pytest.approx(2 / 3))
    assert (other.accuracy, other.micro_f1, other.macro_f1) == (1.0, 1.0, 1.0)
