"""An audit's document, files and cleaned copies."""

import csv
import json
import random

import pandas as pd
import pytest

import token2wave
from token2wave.data import read_labelled
from token2wave.errors import DataError, OutputError

pytestmark = pytest.mark.usefixtures("few_fits")

WORDS = {"animal": ("dog", "horse", "owl", "trout"), "colour": ("red", "green", "blue", "grey")}


@pytest.fixture(scope="module")
def rows():
    """Rows of two classes, every tenth with the wrong label, and cells that a spreadsheet would compute."""
    rng, names = random.Random(3), sorted(WORDS)
    table = []
    for i in range(160):
        name = names[i % 2]
        label = names[1 - i % 2] if i % 10 == 5 else name
        table.append(
            {"id": f"=a{i}", "text": " ".join(rng.choices(WORDS[name], k=5)) + f" {i}", "label": label}
        )
    return pd.DataFrame(table)


def write(rows, path):
    writers = {".csv": rows.to_csv, ".xlsx": rows.to_excel, ".parquet": rows.to_parquet}
    if path.suffix == ".jsonl":
        rows.to_json(path, orient="records", lines=True)
    else:
        writers[path.suffix](path, index=False)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".xlsx"])
def test_suspicious_rows_keep_columns_and_are_relabelled(rows, tmp_path, suffix):
    start = "a" if suffix == ".xlsx" else "=a"  # pandas would write formulas
    rows = rows.assign(id=[f"{start}{i}" for i in range(160)])
    write(rows, path := tmp_path / f"rows{suffix}")
    before = path.read_bytes()
    result = token2wave.audit(path, out=tmp_path / "out", apply="relabel")
    wrong = set(range(6, 161, 10))
    suspicious = {row["row"]: row["proposed"] for row in result.suspicious}
    assert set(suspicious) <= wrong
    assert len(suspicious) > 8
    assert all(row["fields"]["id"] == f"{start}{row['row'] - 1}" for row in result.suspicious)
    assert all(row["words"] for row in result.suspicious)
    for row in result.suspicious:
        assert [each["similarity"] for each in row["nearest"]] == sorted(
            (each["similarity"] for each in row["nearest"]), reverse=True
        )
        assert len({row["row"], *(each["row"] for each in row["nearest"])}) == 4
        assert all(each["label"] == rows["label"][each["row"] - 1] for each in row["nearest"])
    nearest_labels = [
        each["label"] == row["proposed"] for row in result.suspicious for each in row["nearest"]
    ]
    assert sum(nearest_labels) > 0.6 * len(nearest_labels)
    with (tmp_path / "out" / "suspicious.csv").open(encoding="utf-8-sig") as file:
        table = list(csv.DictReader(file))
    assert {row["id"] for row in table} == {
        f"{start}{number - 1}".replace("=", "'=") for number in suspicious
    }
    cleaned = read_labelled(tmp_path / "out" / f"cleaned{suffix}", with_table=True)
    assert list(cleaned.table.columns) == ["id", "text", "label"]
    labels = rows["label"].tolist()
    expected = [suspicious.get(number, label) for number, label in enumerate(labels, start=1)]
    assert cleaned.labels == expected
    assert cleaned.table.columns["id"] == rows["id"].tolist()
    assert path.read_bytes() == before
    assert json.loads((tmp_path / "out" / "audit.json").read_text())["format"] == "token2wave-audit"


def test_decisions_are_applied_and_checked(rows, tmp_path):
    write(rows, path := tmp_path / "rows.csv")
    result = token2wave.audit(path)
    first, second = result.suspicious[:2]
    table = tmp_path / "decisions.csv"

    def decide(checksum):
        table.write_text(
            f"row,decision,label,fingerprint\n{first['row']},drop,,{checksum}\n"
            f"{second['row']},change,colour,{second['fingerprint']}\n"
        )

    decide(first["fingerprint"])
    token2wave.audit(path, apply=table, out=tmp_path / "out")
    cleaned = pd.read_csv(tmp_path / "out" / "cleaned.csv")
    assert len(cleaned) == 159
    assert f"=a{first['row'] - 1}" not in set(cleaned["id"])
    assert cleaned.set_index("id")["label"][f"=a{second['row'] - 1}"] == "colour"
    decide("00000000")
    with pytest.raises(DataError, match=f"row {first['row']} of"):
        token2wave.audit(path, apply=table, out=tmp_path / "other")
    decide(first["fingerprint"])
    with pytest.raises(OutputError):  # a cleaned copy is not replaced unasked
        token2wave.audit(path, apply=table, out=tmp_path / "out")


HOSTILE = {
    "one class": (["a", "b", "c"], ["x"] * 3),
    "two rows": (["a", "b"], ["x", "y"]),
    "all the same": (["same text"] * 30, ["x", "y"] * 15),
    "no labels": (["a", "b"], [[], []]),
    "empty texts": ([""] * 20, ["x", "y"] * 10),
    "a million characters": (["a" * 1_000_000, "@" * 1_000_000, "b", "c"], ["x", "y"] * 2),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_rows_have_an_audit(name, tmp_path):
    texts, labels = HOSTILE[name]
    result = token2wave.audit(texts, labels, out=tmp_path / "out")
    json.dumps(result.to_dict(), allow_nan=False)
    assert result.headline
    assert "_" not in result.headline


def test_several_labels_have_an_audit(tmp_path):
    texts = [f"{'dog' if i % 2 else 'red'} thing {i}" for i in range(80)]
    labels = [["animal"] if i % 2 else ["colour", "paint"] for i in range(80)]
    labels[7] = ["colour", "paint"]
    result = token2wave.audit(texts, labels, out=tmp_path / "out", apply="relabel")
    assert result.document["multi_label"]
    assert all(isinstance(row["label"], list) for row in result.suspicious)
    assert len((tmp_path / "out" / "cleaned.jsonl").read_text().splitlines()) == 80
