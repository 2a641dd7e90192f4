"""The commands train, evaluate, predict and info, inside this process."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import shutil
import signal
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import CSV, POSITIVE, ROWS, TINY

import token2wave
from token2wave.training import run as training

KEYS = {
    "accuracy", "macro_f1", "train_seconds", "total_seconds", "texts_per_second",
    "peak_memory_bytes", "parameters", "parameters_without_embedding", "model_bytes", "preset", "operation",
    "epochs", "seed", "rows",
}  # fmt: skip


def test_train_with_a_folder_evaluates_on_its_test_file(run_cli, workplace):
    folder = workplace / "reviews"
    folder.mkdir()
    for split in ("train", "test"):
        (folder / f"{split}.csv").write_text(CSV)
    outcome = run_cli("train", "reviews", "--out", "m.safetensors", "--json", "--seed", 3, *TINY)
    assert outcome.status == 0
    assert "epoch 1: train loss" in outcome.err
    document = outcome.document
    assert document.keys() >= KEYS
    assert 0 <= document["accuracy"] <= 1
    assert document["model_bytes"] == Path("m.safetensors").stat().st_size
    assert (document["preset"], document["operation"], document["epochs"]) == ("small", "interference", 1)
    assert (document["seed"], document["rows"]) == (3, len(ROWS))
    assert f"on {len(ROWS)} test texts" in run_cli("train", "reviews", "--out", "m.safetensors", *TINY).out


def test_train_prints_the_seconds_of_each_stage(run_cli, train_csv):
    outcome = run_cli("train", train_csv, "--out", "m.safetensors", "--profile", "--epochs", 1)
    names = {line.rsplit(maxsplit=3)[0].strip() for line in outcome.out.splitlines() if line.endswith("%")}
    assert names >= {"reading the data", "training", "linear SVM", "writing"}
    document = run_cli("train", train_csv, "--json", "--profile", *TINY).document
    stages = document["stages"]["wall_seconds"]
    assert 0 < sum(stages.values()) <= document["total_seconds"] + 1
    assert stages.keys() >= {"reading the data", "training", "writing"}


def test_train_without_test_set_cross_validates_few_rows(run_cli, train_csv):
    document = run_cli("train", train_csv, "--json", "--operation", "modulation", *TINY).document
    assert document.keys() >= KEYS
    assert document["model_bytes"] is None
    assert document["evaluated_on"] == "cross-validation"
    assert document["evaluation"]["rows"] == len(ROWS)
    assert document["accuracy"] == document["evaluation"]["accuracy"]
    assert document["operation"] == "modulation"
    assert os.listdir() == ["reviews.csv"]


def test_test_option_report_and_columns(run_cli, workplace):
    Path("data.tsv").write_text(CSV.replace(",", "\t").replace("text\tlabel", "body\tmood"))
    options = ["--text-column", "body", "--label-column", "mood", "--report", "made/here"]
    outcome = run_cli("train", "data.tsv", "--test", "data.tsv", "--preset", "fast", *options, *TINY)
    assert "report: made/here/report.html" in outcome.out
    report = json.loads((workplace / "made/here/report.json").read_text())
    assert report["accuracy"] is not None
    assert report["command"].startswith("token2wave train data.tsv --test data.tsv")
    assert (workplace / "made/here/report.html").stat().st_size


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.txt", "a.parquet"])
def test_every_format_gives_the_same_model(run_cli, model, name):
    """The same seed also gives the same bytes again."""
    if name == "a.parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        table = pyarrow.table({"text": [t for t, _ in ROWS], "label": [y for _, y in ROWS]})
        parquet.write_table(table, name)
    else:
        lines = {
            "a.csv": lambda t, y: f"{t},{y}\n",
            "a.tsv": lambda t, y: f"{t}\t{y}\n",
            "a.jsonl": lambda t, y: json.dumps({"text": t, "label": y}) + "\n",
            "a.txt": lambda t, y: f"__label__{y} {t}\n",
        }[name]
        header = {"a.csv": "text,label\n", "a.tsv": "text\tlabel\n"}.get(name, "")
        Path(name).write_text(header + "".join(lines(t, y) for t, y in ROWS))
    copy = Path(name).with_stem("reviews")
    shutil.move(name, copy)  # the model records the name of the data
    assert run_cli("train", copy, "--out", "m.safetensors", *TINY).status == 0
    assert Path("m.safetensors").read_bytes() == model.read_bytes()


def test_evaluate(run_cli, model, train_csv):
    outcome = run_cli("evaluate", model, train_csv, "--json")
    assert outcome.status == 0
    document = outcome.document
    assert document.keys() >= KEYS
    assert document["train_seconds"] is None
    assert document["rows"] == len(ROWS)
    assert document["model_bytes"] == model.stat().st_size
    classifier = token2wave.load(model)
    right = sum(classifier.predict(text).label == label for text, label in ROWS)
    assert document["accuracy"] == pytest.approx(right / len(ROWS))
    printed = run_cli("evaluate", model, train_csv).out
    assert printed.startswith(f"{right / len(ROWS):.0%} of {len(ROWS)} rows were right (95% interval ")


def test_evaluate_counts_texts_of_which_nothing_is_known(run_cli, model, train_csv):
    assert run_cli("evaluate", model, train_csv, "--json").document["unknown_texts"] == 0
    lines = Path(train_csv).read_text().rstrip("\n").split("\n")
    label = lines[1].rsplit(",", 1)[1]
    Path("unknown.csv").write_text("\n".join([lines[0], lines[1], f"qqq,{label}", f"qqq qqq,{label}\n"]))
    outcome = run_cli("evaluate", model, "unknown.csv", "--json")
    assert outcome.document["unknown_texts"] == 2
    assert "The model knows nothing of 2 of 3 texts" in " ".join(outcome.document["caveats"])


def test_predict_arguments_equal_the_python_api(run_cli, model):
    texts = [*POSITIVE, "", "tab\tand\nline \U0001f600"]
    outcome = run_cli("predict", model, "--json", "--top-k", 9, *texts)
    expected = token2wave.load(model).predict_batch(texts, 9)
    assert [entry["text"] for entry in outcome.document] == texts
    for entry, prediction in zip(outcome.document, expected, strict=True):
        assert (entry["label"], entry["probability"]) == (prediction.label, prediction.probability)
        assert [(top["label"], top["probability"]) for top in entry["top"]] == list(prediction.top)


def test_predict_prints_one_line_a_text(run_cli, model):
    outcome = run_cli("predict", model, "--top-k", 2, "great film", "tab\tand\nline \U0001f600")
    lines = [line.split("\t") for line in outcome.out.splitlines()]
    assert [len(line) for line in lines] == [5, 5]
    assert lines[0][4] == "great film"
    assert lines[1][4] == "tab and line \U0001f600"
    assert float(lines[0][1]) >= float(lines[0][3])


def test_predict_scores_windows(run_cli, model):
    text = "a great film " * 20 + "and " * 40 + "a great film " * 20 + "zebra"
    (document,) = run_cli("predict", model, text, "--windows", "--json").document
    classifier = token2wave.load(model)
    spans, probabilities = classifier.window_scores(text)
    assert len(spans) > 1
    assert [[each["start"], each["end"]] for each in document["windows"]] == spans.tolist()
    expected = [dict(zip(classifier.label_names, row, strict=True)) for row in probabilities.tolist()]
    assert [each["probabilities"] for each in document["windows"]] == expected
    lines = run_cli("predict", model, text, "--windows").out.splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == [f"  {start}-{end}" for start, end in spans]
    assert [line.split("\t")[3] for line in lines[1:]] == [text[start:end] for start, end in spans]
    assert "windows" not in run_cli("predict", model, text, "--json").document[0]
    refused = run_cli("predict", model, text, "--windows", "--out", "o.csv")
    assert "--windows: expected no table" in refused.error


def test_predict_abstains_below_a_probability(run_cli, model):
    texts = [*POSITIVE, "zzz"]
    sure = [token2wave.load(model).predict(text).probability for text in texts]
    limit = sorted(sure)[len(sure) // 2]
    arguments = ["predict", model, "--abstain-below", limit, "--top-k", 2, *texts]
    expected = [probability >= limit for probability in sure]
    expected[-1] = False  # the model knows nothing of it
    assert len(set(expected)) == 2
    document = run_cli(*arguments, "--json").document
    assert [entry["label"] is not None for entry in document] == expected
    assert [entry["probability"] for entry in document] == sure
    lines = [line.split("\t") for line in run_cli(*arguments).out.splitlines()]
    assert [line[0] != "-" for line in lines] == expected
    assert [line[5:] for line in lines] == [[]] * len(POSITIVE) + [["(nothing known)"]]
    assert [entry["known"] for entry in document] == [True] * len(POSITIVE) + [False]
    assert run_cli("predict", model, "--abstain-below", 1e-9, "zzz", "").out.count("-\t") == 2
    assert not run_cli("predict", model, "zzz").out.startswith("-")


def test_predict_abstains_above_a_novelty(run_cli, model, workplace):
    unknowing = run_cli("predict", model, "--abstain-above-novelty", 0.5, "zzz")
    assert "--abstain-above-novelty: expected a model that measures novelty" in unknowing.error
    assert run_cli("predict", model, "zzz", "--json").document[0]["novelty"] is None
    Path("many.csv").write_text(
        "text,label\n" + "".join(f"{i % 9} good,up\n{i % 9} bad,down\n" for i in range(200))
    )
    run_cli("train", "many.csv", "--out", "m.safetensors", *TINY)
    texts = ["3 good", "zzz yyy xxx zzz yyy xxx"]
    arguments = ["predict", "m.safetensors", *texts]
    document = run_cli(*arguments, "--json").document
    novelty = [entry["novelty"] for entry in document]
    assert novelty[0] < novelty[1] <= 1
    assert all(entry["label"] is not None for entry in document)
    arguments += ["--abstain-above-novelty", sum(novelty) / 2]
    abstaining = run_cli(*arguments, "--json").document
    assert [entry["label"] is None for entry in abstaining] == [False, True]
    assert [line[0] for line in run_cli(*arguments).out.splitlines()] == [document[0]["label"][0], "-"]
    arguments = ["evaluate", "m.safetensors", "many.csv"]
    mean = run_cli(*arguments, "--json").document["mean_novelty"]
    assert f"mean novelty {mean:.2f}" in run_cli(*arguments).out


@pytest.mark.parametrize("name", ["t.txt", "t.csv", "t.jsonl", "t.parquet"])
def test_predict_file(run_cli, model, name):
    if name == "t.parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({"text": list(POSITIVE)}), name)
    elif name == "t.jsonl":
        Path(name).write_text("".join(json.dumps({"text": text}) + "\n" for text in POSITIVE))
    else:
        header = "text\n" if name == "t.csv" else ""
        Path(name).write_text(header + "".join(text + "\n" for text in POSITIVE))
    outcome = run_cli("predict", model, "--file", name, "--json")
    assert [entry["text"] for entry in outcome.document] == list(POSITIVE)


def test_predict_writes_a_table_that_a_spreadsheet_opens(run_cli, model):
    """It has the file's columns and delimiter, a byte order mark, and decimal commas beside semicolons."""
    rows = [
        "Nr;text;label",
        "1;great, lovely film – süß;x",
        "2;=awful film;y",
        "3;broken",
        '4;"two\nlines";z',
        "",
    ]
    Path("next.csv").write_bytes("\r\n".join(rows).encode("cp1252"))
    command = ("predict", model, "--file", "next.csv", "--out", "made.csv")
    assert "expected 3 fields as in the header, found 2" in run_cli(*command).error
    outcome = run_cli(*command, "--skip-bad-rows")
    assert outcome.out.startswith("predictions: made.csv, 3 rows (")
    assert "1 of 4 rows was skipped" in outcome.err
    content = Path("made.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfNr;text;label;predicted_label;probability\r\n")
    table = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=";"))
    assert [row[0] for row in table[1:]] == ["1", "2", "4"]
    assert [row[1] for row in table[1:]] == ["great, lovely film – süß", "'=awful film", "two\nlines"]
    prediction = token2wave.load(model).predict("great, lovely film – süß")
    assert table[1][3:] == [prediction.label, f"{prediction.probability:.4f}".rstrip("0").replace(".", ",")]
    assert run_cli(*command, "--skip-bad-rows").status == 0  # it may replace its own table
    assert "ends in .csv, .tsv or .xlsx" in run_cli(*command[:-1], "made.doc").error
    assert "found the input next.csv" in run_cli(*command[:-1], "next.csv").error


def test_predict_writes_a_workbook(run_cli, model):
    openpyxl = pytest.importorskip("openpyxl")
    Path("next.tsv").write_text("n\ttext\n1\tgreat film\n2\tawful film\n")
    command = ("predict", model, "--file", "next.tsv", "--out", "made.xlsx", "--top-k", "2")
    assert run_cli(*command).status == 0
    header, *rows = openpyxl.load_workbook("made.xlsx").active.values
    assert header == ("n", "text", "label", "probability", "label_2", "probability_2")
    assert [row[1] for row in rows] == ["great film", "awful film"]
    assert sum(rows[0][3::2]) == pytest.approx(1, abs=1e-3)


def test_predict_notes_a_text_that_is_the_name_of_a_file(run_cli, model, train_csv):
    outcome = run_cli("predict", model, "reviews.csv")
    assert "to read the file of that name, write --file reviews.csv" in outcome.err
    assert run_cli("predict", model, "another.csv").err == ""


def test_evaluation_names_wrong_rows_and_groups(run_cli, model):
    lines = [
        f"{i};{('great', 'awful')[i % 2]} film;{('pos', 'neg')[i % 2 if i % 4 else 1]};g{i % 4}"
        for i in range(40)
    ]
    Path("more.csv").write_text("\n".join(["id;text;label;kind \x1b[2J", *lines]))
    command = ("evaluate", model, "more.csv", "--by", "kind \x1b[2J", "--by", "length")
    outcome = run_cli(*command, "--errors", "wrong.csv")
    assert outcome.status == 0, outcome.err
    worse, *others = (line for line in outcome.out.splitlines() if line.lstrip().startswith("g"))
    assert worse.startswith("  g0 ")
    assert "worse than the others (p = " in worse
    assert not any("worse" in line for line in others)
    assert "\x1b" not in outcome.out
    assert "2 to 2" in outcome.out
    assert "wrong predictions: wrong.csv, 10 rows" in outcome.out
    table = list(csv.DictReader(io.StringIO(Path("wrong.csv").read_text("utf-8-sig")), delimiter=";"))
    assert {row["id"] for row in table} == {str(i) for i in range(0, 40, 4)}
    assert "," in table[0]["probability"]  # as where semicolons separate
    document = run_cli(*command, "--json").document
    assert {group["name"] for group in document["by"]["kind \x1b[2J"] if group["is_worse"]} == {"g0"}
    assert len(document["coverage"]) == 20
    assert "there is no column 'nothing'" in run_cli(*command, "--by", "nothing").error
    assert "wrong predictions" not in run_cli(*command, "--errors", "wrong.csv", "--quiet").out


@pytest.mark.parametrize(("novelty", "is_noted"), [(0.1, True), (0.4, False)])
def test_evaluation_notes_texts_of_training(run_cli, model, train_csv, monkeypatch, novelty, is_noted):
    monkeypatch.setattr(token2wave.Classifier, "novelty", lambda _, texts: np.full(len(texts), novelty))
    assert ("much like those of training" in run_cli("evaluate", model, train_csv).err) is is_noted


def test_predict_standard_input(run_cli, model):
    outcome = run_cli("predict", model, "--json", stdin="great film\n\nbad \U0001f600".encode())
    assert [entry["text"] for entry in outcome.document] == ["great film", "", "bad \U0001f600"]


def test_predict_without_texts(run_cli, model):
    outcome = run_cli("predict", model)
    assert (outcome.status, outcome.out) == (0, "")
    assert run_cli("predict", model, "--json").document == []


def test_predict_texts_and_file(run_cli, model):
    assert "--file" in run_cli("predict", model, "hello", "--file", "t.txt").error


def test_predict_invalid_utf8_on_standard_input_does_not_crash(run_cli, model):
    assert "Traceback" not in run_cli("predict", model, stdin=b"caf\xe9\n").err


def test_predict_invalid_utf8_on_standard_input_is_an_error(run_cli, model):
    error = run_cli("predict", model, stdin=b"good\ncaf\xe9\n").error
    assert "line 2" in error
    assert "UTF-8" in error


def test_predict_standard_input_with_windows_line_ends(run_cli, model):
    outcome = run_cli("predict", model, "--json", stdin=b"\xef\xbb\xbfgreat\r\nbad\r\n")
    assert [entry["text"] for entry in outcome.document] == ["great", "bad"]


def test_predict_argument_that_is_not_utf8(run_cli, model):
    outcome = run_cli("predict", model, "caf\udce9")  # how Python hands on the byte 0xe9
    assert outcome.status in (0, 2)


def test_predict_prints_one_line_a_text_whatever_the_label(run_cli, workplace):
    Path("odd.jsonl").write_text(
        "".join(json.dumps({"text": t, "label": f"\n{y}\t\x1b[31m"}) + "\n" for t, y in ROWS)
    )
    assert run_cli("train", "odd.jsonl", "--out", "m.safetensors", *TINY).status == 0
    outcome = run_cli("predict", "m.safetensors", "great film")
    assert len(outcome.out.splitlines()) == 1
    assert "\x1b" not in outcome.out


def test_predict_warns_that_the_name_of_a_file_is_a_text(run_cli, model, train_csv):
    outcome = run_cli("predict", model, str(train_csv))
    assert outcome.out.endswith(f"{train_csv}\n") or str(train_csv) in outcome.out
    assert f"--file {train_csv}" in outcome.err
    assert run_cli("predict", model, "great film").err == ""


def test_info(run_cli, model):
    outcome = run_cli("info", model)
    assert outcome.status == 0
    assert "neg, pos" in outcome.out
    assert "None" not in outcome.out
    assert "unknown" not in outcome.out
    assert outcome.err == ""
    document = run_cli("info", model, "--json").document
    assert document["labels"] == ["neg", "pos"]
    assert document["training"]["preset"] == "small"
    assert document["model_bytes"] == model.stat().st_size


def test_version(run_cli):
    assert run_cli("--version").out == f"token2wave {token2wave.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["train", "--help"], ["predict", "-h"]])
def test_help(run_cli, arguments):
    outcome = run_cli(*arguments)
    assert outcome.status == 0
    assert outcome.out.startswith("Usage: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Usage: "),
        (["--nothing"], "No such option"),
        (["fly"], "No such command"),
        (["supervised", "-input", "a.txt"], "Here it is: token2wave train"),
        (["test", "m", "a.txt"], "Here it is: token2wave evaluate"),
        (["train", "my a.csv"], "token2wave train 'my a.csv' --out model.safetensors"),
        (["train"], "Missing argument"),
        (["train", "--nothing"], "No such option"),
        (["train", "a.csv", "b.csv"], "unexpected extra argument"),
        (["train", "a.csv", "--out"], "requires an argument"),
        (["train", "a.csv", "--epochs", "many"], "--epochs"),
        (["evaluate", "m"], "Missing argument"),
        (["predict"], "Missing argument"),
        (["predict", "m", "--top-k", "0"], "--top-k"),
        (["info"], "Missing argument"),
    ],
)
def test_usage_error(run_cli, arguments, message):
    outcome = run_cli(*arguments)
    assert outcome.status == 2
    assert outcome.out == ""
    assert message in outcome.err


def test_both_names_are_installed():
    scripts = {script.name: script.value for script in entry_points(group="console_scripts")}
    assert scripts["token2wave"] == scripts["t2w"] == "token2wave.cli.main:main"


@pytest.mark.parametrize(
    "place", ["missing/m.safetensors", "reviews.csv/m.safetensors", "folder", "/proc/m.safetensors"]
)
def test_output_that_cannot_be_written(run_cli, train_csv, workplace, place):
    (workplace / "folder").mkdir()
    outcome = run_cli("train", train_csv, "--out", place, *TINY)
    assert outcome.status == 2
    assert f"error: {place}: " in outcome.err.splitlines()[-1]
    assert sorted(os.listdir()) == ["folder", "reviews.csv"]
    assert not os.listdir("folder")


@pytest.mark.parametrize("place", ["reviews.csv", "reviews.csv/report"])
def test_report_that_cannot_be_written_fails_before_training(run_cli, train_csv, place):
    error = run_cli("train", train_csv, "--out", "m.safetensors", "--report", place, *TINY).error
    assert place in error
    assert os.listdir() == ["reviews.csv"]


def test_folder_that_vanishes_during_training(run_cli, train_csv, workplace, monkeypatch):
    fit = training.fit_branches

    def fit_and_remove(*args, **kwargs):
        fitted = fit(*args, **kwargs)
        shutil.rmtree(workplace / "out", ignore_errors=True)
        return fitted

    (workplace / "out").mkdir()
    monkeypatch.setattr(training, "fit_branches", fit_and_remove)
    outcome = run_cli("train", train_csv, "--out", "out/m.safetensors", *TINY)
    assert outcome.status == 2
    assert outcome.err.splitlines()[-1].startswith("error: out/m.safetensors: cannot be written")


def test_interruption_in_this_process(run_cli, train_csv, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit_branches", interrupt)
    outcome = run_cli("train", train_csv, "--out", "m.safetensors", *TINY)
    assert outcome.status == 130
    assert outcome.out == ""
    assert os.listdir() == ["reviews.csv"]


def test_interruption_prints_one_line(run_cli, train_csv, monkeypatch):
    def interrupt(*_, **__):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(training, "fit_branches", interrupt)
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    try:
        err = run_cli("train", train_csv, "--out", "m.safetensors", *TINY).err
    finally:
        signal.signal(signal.SIGINT, previous)
    assert err.splitlines()[-1] == "error: interrupted; nothing was written"
    assert "Traceback" not in err


def test_full_disk_keeps_the_old_model(run_cli, train_csv, workplace):
    old = workplace / "old.safetensors"
    old.write_bytes(b"an older model")
    previous = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, previous[1]))  # a longer file cannot be written
    try:
        outcome = run_cli("train", train_csv, "--out", old, "--overwrite", *TINY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, previous)
        assert old.read_bytes() == b"an older model"
    assert outcome.status == 2
    assert "old.safetensors: cannot be written" in outcome.err


def test_failing_report_keeps_the_old_model(run_cli, train_csv, workplace):
    old = workplace / "old.safetensors"
    old.write_bytes(b"an older model")
    (workplace / "report" / "report.html").mkdir(parents=True)
    outcome = run_cli("train", train_csv, "--out", old, "--overwrite", "--report", "report", *TINY)
    assert outcome.status == 2
    assert old.read_bytes() == b"an older model"


def test_only_regular_files_are_replaced(run_cli, train_csv, workplace):
    pipe = workplace / "pipe"
    os.mkfifo(pipe)
    run_cli("train", train_csv, "--out", pipe, *TINY)
    assert pipe.is_fifo()


def test_epoch_line_is_not_wrapped(run_cli, train_csv):
    outcome = run_cli("train", train_csv, "--json", *TINY, "--epochs", 11)
    epochs = [line for line in outcome.err.splitlines() if "epoch" in line]
    assert len(epochs) == 20  # of 11, in validation and of all rows
    assert all("train loss" in line for line in epochs)
    assert all(line.isprintable() for line in outcome.err.splitlines())


def test_no_blank_lines_on_standard_error(run_cli, model):
    assert run_cli("predict", model, "hello").err == ""
