"""Rows to label go out as sheets and prompts, and answers come back as labels with weights."""

import csv
import json

import numpy as np
import pytest
from openpyxl import load_workbook

import token2wave
from token2wave.errors import ConfigError, DataError, OutputError
from token2wave.labelling.answers import weigh_votes
from token2wave.labelling.plans import PlannedRows
from token2wave.options import TextOptions

LABELS = ["good", "bad", "Not sure"]
TEXTS = ["fine, really", "=sad()", "so-so\nand so on", "poor", "great"]


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "next.csv"
    with path.open("w", newline="") as file:
        table = [
            ("id", "text", "label", "predicted"),
            *((f"a{i}", text, "", "bad") for i, text in enumerate(TEXTS)),
        ]
        csv.writer(file).writerows(table)
    return path


@pytest.fixture
def ids(rows):
    return PlannedRows.read(rows, TextOptions()).ids


def write_answers(path, ids, answers, **more):
    lines = [
        json.dumps({"id": key, "answer": answer, **more}) for key, answer in zip(ids, answers, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def read_rows(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("suffix", ["csv", "tsv", "xlsx"])
def test_a_sheet_comes_back_filled_in(rows, tmp_path, suffix):
    sheet, out = tmp_path / f"sheet.{suffix}", tmp_path / "labelled.csv"
    assert token2wave.label_plan(rows, LABELS, out=sheet, instructions="Is the text kind?") == len(TEXTS)
    answers = ["good", "", "NOT  sure", "bad", "1"]
    if suffix == "xlsx":
        book = load_workbook(sheet)
        cells = book["labels"].values
        assert list(cells)[:2] == [("label", "instructions"), ("good", "Is the text kind?")]
        assert book.worksheets[0].data_validations.dataValidation[0].formula1 == "labels!$A$2:$A$4"
        for row, answer in enumerate(answers, start=2):
            assert book.worksheets[0].cell(row, 2).value in (None, "")
            book.worksheets[0].cell(row, 2).value = answer
        book.save(sheet)
    else:
        delimiter = "," if suffix == "csv" else "\t"
        with sheet.open(encoding="utf-8-sig", newline="") as file:
            header, *table = csv.reader(file, delimiter=delimiter)
        assert header == ["id", "label", "text"]  # what the model predicts would sway people
        with sheet.open("w", newline="") as file:
            filled = [[key, answer, text] for (key, _, text), answer in zip(table, answers, strict=True)]
            csv.writer(file, delimiter=delimiter).writerows([header, *reversed(filled)])
        assert "Is the text kind?" in (tmp_path / f"sheet-labels.{suffix}").read_text()
    with pytest.raises(OutputError, match="--overwrite"):  # somebody has worked on it
        token2wave.label_plan(rows, LABELS, out=sheet)
    result = token2wave.read_answers(rows, LABELS, sheet, out=out)
    assert (result.n_answers, result.n_abstentions, result.n_disagreements) == (4, 1, 0)
    labelled = read_rows(out)
    assert [row["label"] for row in labelled] == ["good", "Not sure", "bad", "good"]
    assert [row["id"] for row in labelled] == ["a0", "a2", "a3", "a4"]
    assert {row["weight"] for row in labelled} == {"1.0"}
    assert "predicted" not in labelled[0]


def test_prompts_hold_all_that_a_model_needs(rows, ids, tmp_path):
    examples, prompts = tmp_path / "examples.csv", tmp_path / "prompts.jsonl"
    examples.write_text("text,label\nsplendid,good\nbetter,good\nhopeless,bad\nodd,other\n")
    for _ in range(2):  # prompts are replaced
        token2wave.label_plan(rows, LABELS, prompts=prompts, examples=examples)
    documents = list(map(json.loads, prompts.read_text().splitlines()))
    assert [document["id"] for document in documents] == ids
    system, *turns = documents[1]["messages"]
    assert "1. good\n2. bad\n3. Not sure\n" in system["content"]
    assert "ABSTAIN" in system["content"]
    assert [(turn["role"], turn["content"]) for turn in turns] == [
        *(("user", "splendid"), ("assistant", "good"), ("user", "hopeless"), ("assistant", "bad")),
        ("user", "=sad()"),
    ]
    with pytest.raises(OutputError, match="input"):
        token2wave.label_plan(rows, LABELS, prompts=rows, overwrite=True)


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("good", "good"),
        (" **Good**. ", "good"),
        ('"not SURE"', "Not sure"),
        ("Label: bad", "bad"),
        ("2", "bad"),
        ("2.", "bad"),
        ("2) bad", "bad"),
        ("2. good", None),  # the number and the name differ
        ("4", None),
        ("0", None),
        ("not good", None),
        ("good or bad", None),
        ("I think it is good", None),
        ("ABSTAIN", None),
        ("", None),
    ],
)
def test_an_answer_is_a_label_or_an_abstention(rows, ids, tmp_path, answer, label):
    path = write_answers(tmp_path / "answers.jsonl", ids[:1], [answer])
    result = token2wave.read_answers(rows, LABELS, path)
    assert [row["label"] for row in result.rows] == ([] if label is None else [label])
    assert result.n_abstentions == (label is None)
    assert any(repr(answer) in note for note in result.notes) == (
        label is None and answer not in ("", "ABSTAIN")
    )


def test_a_label_that_is_a_number_is_no_place_in_the_list(rows, ids, tmp_path):
    path = write_answers(tmp_path / "answers.jsonl", ids[:2], ["2", "1"])
    assert [row["label"] for row in token2wave.read_answers(rows, "2,1", path).rows] == ["2", "1"]


def test_answers_of_services_are_read(rows, ids, tmp_path):
    path = tmp_path / "batch.jsonl"
    chat = {"response": {"body": {"choices": [{"message": {"role": "assistant", "content": "good"}}]}}}
    other = {"result": {"type": "succeeded", "message": {"content": [{"type": "text", "text": "bad"}]}}}
    path.write_text(
        "".join(
            json.dumps({"custom_id": key, **d}) + "\n" for key, d in zip(ids, (chat, other), strict=False)
        )
    )
    assert [row["label"] for row in token2wave.read_answers(rows, LABELS, path).rows] == ["good", "bad"]


def test_several_annotators_are_weighed(rows, ids, tmp_path):
    answers = (
        ["good", "bad", "bad", "bad", "good"],
        ["good", "bad", "bad", "bad", "ABSTAIN"],
        ["bad", "bad", "good"],
    )
    paths = [write_answers(tmp_path / f"p{i}.jsonl", ids[: len(a)], a) for i, a in enumerate(answers)]
    result = token2wave.read_answers(rows, LABELS, paths)
    assert [row["label"] for row in result.rows] == ["good", "bad", "bad", "bad", "good"]
    assert [row["answers"] for row in result.rows] == [3, 3, 3, 2, 1]
    assert (result.n_answers, result.n_abstentions, result.n_disagreements) == (12, 1, 2)
    weights = [row["weight"] for row in result.rows]
    assert weights[1] > weights[3] > weights[0]  # all three agree, two do, one does not
    assert result.annotators["p2"] < min(result.annotators["p0"], result.annotators["p1"])
    joined = tmp_path / "joined.jsonl"
    joined.write_text(
        "".join(path.read_text().replace("}", f', "annotator": "{path.stem}"}}') for path in paths)
    )
    assert token2wave.read_answers(rows, LABELS, joined).rows == result.rows


def test_several_labels_come_back(rows, ids, tmp_path):
    path = write_answers(tmp_path / "answers.jsonl", ids[:4], ["good|not sure", "NONE", "2|1", "good|what"])
    result = token2wave.read_answers(rows, LABELS, path, label_separator="|")
    assert [row["label"] for row in result.rows] == ["good|Not sure", "", "good|bad"]
    token2wave.label_plan(rows, LABELS, prompts=tmp_path / "p.jsonl", label_separator="|")
    assert "separated by '|'" in (tmp_path / "p.jsonl").read_text()


def test_answers_to_other_rows_are_refused(rows, ids, tmp_path):
    path = write_answers(tmp_path / "answers.jsonl", ["1-00000000"], ["good"])
    with pytest.raises(DataError, match="expected the id of a row"):
        token2wave.read_answers(rows, LABELS, path)
    path.write_text('{"answer": "good"}\n')
    with pytest.raises(DataError, match='line 1: expected a JSON object with "id"'):
        token2wave.read_answers(rows, LABELS, path)
    for labels in (["good"], "good,good", "good,"):
        with pytest.raises(ConfigError, match="two different labels"):
            token2wave.label_plan(rows, labels, prompts=tmp_path / "p.jsonl")
    with pytest.raises(ConfigError, match="a file to write"):
        token2wave.label_plan(rows, LABELS)


def test_labels_with_weights_train_a_model(classifier, tmp_path):
    """From a selection to a model, with files alone."""
    from labelling_data import make_texts

    texts, labels = make_texts(80, seed=7)
    truth = dict(zip(texts, labels, strict=True))
    selection = token2wave.select(classifier, texts, n=60, out=tmp_path / "next.csv")
    token2wave.label_plan(tmp_path / "next.csv", classifier, prompts=tmp_path / "prompts.jsonl")
    documents = list(map(json.loads, (tmp_path / "prompts.jsonl").read_text().splitlines()))
    answers = [truth[document["messages"][-1]["content"]] for document in documents]
    path = write_answers(tmp_path / "answers.jsonl", [document["id"] for document in documents], answers)
    result = token2wave.read_answers(selection, classifier, path, out=tmp_path / "labelled.csv")
    assert [row["label"] for row in result.rows] == [truth[text] for text in selection.texts]
    trained = token2wave.train(
        tmp_path / "labelled.csv", weight_column="weight", preset="fast", baseline=False
    )
    assert trained.classifier.label_names == ("bad", "good")


@pytest.mark.parametrize("n_classes", [2, 4, 12])
def test_weighing_beats_the_majority(n_classes):
    random, right, reliable = np.random.default_rng(0), np.zeros(2), np.zeros(4)
    for _ in range(10):
        truth, skills = random.integers(n_classes, size=200), (0.95, 0.6, 0.6, 0.55)
        is_right = random.random((200, 4)) < skills
        others = (truth[:, None] + random.integers(1, n_classes, (200, 4))) % n_classes
        votes = np.where(is_right, truth[:, None], others)
        votes[random.random(votes.shape) < 0.1] = -1
        posterior, reliability = weigh_votes(votes, n_classes)
        counts = np.array([(votes == label).sum(axis=1) for label in range(n_classes)]).T
        right += (posterior.argmax(axis=1) == truth).mean(), (counts.argmax(axis=1) == truth).mean()
        reliable += reliability
    assert reliable.argmax() == 0
    assert right[0] > right[1] + 0.2  # two points a draw, and more
