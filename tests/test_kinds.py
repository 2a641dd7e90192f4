"""Every kind of model, sent every way: it works, or refuses in one line; ``docs/kinds.md`` says which.

``python tools/render_kinds.py`` writes what is seen here into ``results/kinds.json`` and the page.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kinds import ARGUMENTS, KINDS, N_TEST, TRAINING, Kind

import token2wave
from token2wave import Classifier
from token2wave.cli.main import main
from token2wave.errors import MissingExtraError, Token2WaveError
from token2wave.features.pairs import join_pair

ROOT = Path(__file__).parents[1]
RENEW = "python tools/render_kinds.py"
RECORDED: Any = json.loads((ROOT / "results" / "kinds.json").read_text(encoding="utf-8"))
CLOSE = {"rtol": 0, "atol": 1e-5}
EXPECTED_AND_FOUND = re.compile(r"(expected|is for) .*found ")


@dataclass(frozen=True)
class Trained:
    """A model of a kind, its files, and an empty folder for what a way writes."""

    kind: Kind
    classifier: Classifier
    model: Path
    train: Path
    test: Path
    folder: Path
    command: Callable[..., str]

    @property
    def texts(self) -> list[Any]:
        return self.kind.test_rows[0]

    @property
    def labels(self) -> list[Any]:
        return self.kind.test_rows[1]

    def require_same(self, probabilities: Any) -> None:
        """Assert that these are the model's probabilities of the test texts, in the order of its classes."""
        np.testing.assert_allclose(probabilities, self.classifier.probabilities(self.texts), **CLOSE)

    def require_same_file(self, path: Path) -> None:
        """Assert that a model file holds the model."""
        assert token2wave.load(path).fingerprint == self.classifier.fingerprint

    def require_right(self, classifier: Classifier) -> None:
        """Assert that another model is of the kind, and gets the test rows right."""
        assert (classifier.scale is None) == (self.classifier.scale is None)
        assert classifier.multi_label == self.classifier.multi_label
        assert self.kind.accuracy(classifier) >= 0.9


Way = Callable[[Trained], "str | None"]
"""Does the whole of a way. It returns why it works in part, or None. A refusal is raised."""
WAYS: dict[str, tuple[str, Way]] = {}
"""Name of each way, the page about it, and what it does."""


def way(name: str, page: str) -> Callable[[Way], Way]:
    def register(function: Way) -> Way:
        WAYS[name] = page, function
        return function

    return register


@way("Python", "predicting.md")
def _python(it: Trained) -> None:
    it.require_right(it.classifier)
    predictions = it.classifier.predict_batch(it.texts, top_k=99)
    assert it.classifier.predict(it.texts[0], top_k=99) == predictions[0]
    names = list(it.classifier.label_names)
    rows = [[dict(each.top)[name] for name in names] for each in predictions]
    it.require_same(rows)
    sets = it.classifier.label_sets(it.texts)
    assert [set(each.labels) for each in predictions] == list(map(set, sets))
    it.require_same_file(it.model)


@way("Command line", "command-line.md")
def _command_line(it: Trained) -> None:
    model = it.folder / "model.safetensors"
    it.command("train", it.train, "--out", model, *ARGUMENTS, *it.kind.arguments)
    it.require_same_file(model)
    document = json.loads(it.command("evaluate", model, it.test, "--json"))
    expected = it.classifier.evaluate(it.texts, it.labels).to_dict()
    assert document["evaluation"] == json.loads(json.dumps(expected))
    predictions = json.loads(it.command("predict", model, "--file", it.test, "--json"))
    for document, prediction in zip(predictions, it.classifier.predict_batch(it.texts), strict=True):
        if it.classifier.multi_label:
            labels = tuple(each["label"] for each in document["labels"])
            assert labels == prediction.labels
        else:
            assert document["label"] == prediction.label
            assert document["probability"] == pytest.approx(prediction.probability, abs=1e-5)
        assert document.get("score") == (prediction.score and pytest.approx(prediction.score, abs=1e-5))
    assert it.command("info", model)


@way("Explanation", "explaining.md")
def _explanation(it: Trained) -> None:
    explanation = it.classifier.explain(it.texts[0])
    np.testing.assert_allclose(
        explanation.probabilities, it.classifier.probabilities(it.texts[:1])[0], **CLOSE
    )
    decisive = max(explanation.parts, key=lambda part: max(map(abs, part.effects)))
    removed = explanation.text[decisive.start : decisive.end]
    assert any(removed in word for word in it.kind.words)


@way("Vectors", "vectors.md")
def _vectors(it: Trained) -> None:
    vectors, (texts, labels) = it.classifier.encode(it.texts), it.kind.train_rows
    np.testing.assert_allclose((vectors**2).sum(axis=1), 1, **CLOSE)
    nearest = it.classifier.nearest(it.texts, texts, k=1).rows[:, 0]
    assert it.kind.share_right([labels[i] for i in nearest.tolist()], it.labels) >= 0.9


@way("Text as it arrives", "states.md")
def _state(it: Trained) -> None:
    rows, answers = [], []
    for text in it.texts:
        state, end = it.classifier.state(), text.find(" ") if " " in text else len(text) // 2
        state.update(text[:end])
        state.update(text[end:])
        rows.append(state.probabilities())
        answers.append(it.kind.answer(state.predict()))
    it.require_same(rows)
    assert it.kind.share_right(answers, it.labels) >= 0.9


@way("Wrong predictions", "evaluating.md#read-the-wrong-predictions")
def _errors(it: Trained) -> None:
    table = it.folder / "errors.csv"
    result = token2wave.evaluate(it.classifier, it.texts, it.labels, errors=table)
    assert result.evaluation == it.classifier.evaluate(it.texts, it.labels)
    n_wrong = round((1 - result.accuracy) * N_TEST)
    assert len(table.read_text(encoding="utf-8-sig").splitlines()) == 1 + n_wrong


@way("Groups of texts", "evaluating.md#compare-groups")
def _groups(it: Trained) -> None:
    figures = token2wave.evaluate(it.classifier, it.texts, it.labels, by="length").figures
    assert sum(group["rows"] for group in figures["by"]["length"]) == N_TEST


@way("Report", "own-data.md#validation-and-test-rows")
def _report(it: Trained) -> None:
    result = it.kind.train(it.train, test=it.test, report=it.folder / "report")
    document = json.loads((it.folder / "report" / "report.json").read_text())
    assert document["label_names"] == list(it.classifier.label_names)
    assert document["test_rows"] == N_TEST
    expected = json.loads(json.dumps(result.classifier.evaluate(it.texts, it.labels).to_dict()))
    assert document["evaluation"] == expected
    page = (it.folder / "report" / "report.html").read_text()
    figure = "Spearman" if it.classifier.scale else "Micro-F1" if it.classifier.multi_label else "Accuracy"
    assert figure in page


@way("Cross-validation", "own-data.md#validation-and-test-rows")
def _cross_validation(it: Trained) -> None:
    summary = it.kind.train(cv=2).summary
    assert summary.evaluated_on == "cross-validation"
    assert summary.accuracy > 0.8


@way("Search for settings", "search.md")
def _search(it: Trained) -> None:
    result = it.kind.train(candidates=2)
    it.require_right(result.classifier)
    assert result.summary.search is not None


@way("Training on a stream", "streams.md")
def _stream(it: Trained) -> str | None:
    texts, labels = it.kind.train_rows
    data = it.kind.write(it.folder / "rows.jsonl", texts * 7, labels * 7)
    result = it.kind.train(data, stream=True)
    if notes := [note for note in result.summary.caveats if "tries no window level" in note]:
        return str(notes[0])
    it.require_right(result.classifier)
    return None


@way("A teacher's probabilities", "teachers.md")
def _teacher(it: Trained) -> None:
    teacher = it.folder / "teacher.npz"
    np.savez(teacher, probabilities=it.classifier.probabilities(it.kind.train_rows[0]))
    it.require_right(it.kind.train(teacher=teacher).classifier)


@way("Update with more rows", "continuing.md")
def _update(it: Trained) -> None:
    updated = token2wave.update(it.classifier, it.texts, it.labels, epochs=1)
    assert updated.fingerprint != it.classifier.fingerprint
    it.require_right(updated)


@way("Wrong labels", "find-wrong-labels.md")
def _audit(it: Trained) -> str | None:
    texts, labels = it.kind.train_rows
    wrong = [labels[1], *labels[1:]]
    with pytest.MonkeyPatch.context() as patch:  # folds in each of its ten trainings
        patch.setattr("token2wave.training.run.FEW_TO_BATCH", 0)
        result = token2wave.audit(texts, wrong)
    notes = [note for note in result.document["notes"] if "not judged" in note]
    if notes:
        return str(notes[0])
    assert 1 in [row["row"] for row in result.suspicious]
    return None


@way("What to label next", "what-to-label-next.md")
def _select(it: Trained) -> None:
    pool = it.kind.train_rows[0]
    result = token2wave.select(it.classifier, pool, n=5, strategy="uncertainty")
    assert len(set(result.texts)) == 5
    assert set(result.texts) <= set(pool)
    expected = ["; ".join(sorted(labels)) for labels in it.classifier.label_sets(result.texts)]
    assert ["; ".join(sorted(row["predicted"].split("; "))) for row in result.rows] == expected


@way("Sheets and prompts to label", "what-to-label-next.md#hand-out")
def _label_plan(it: Trained) -> None:
    rows, answers = it.kind.write(it.folder / "rows.jsonl", it.texts), it.folder / "answers.jsonl"
    options = {"label_separator": "|"} if it.classifier.multi_label else {}
    token2wave.label_plan(rows, it.model, prompts=it.folder / "prompts.jsonl", **options)
    prompts = [json.loads(line) for line in (it.folder / "prompts.jsonl").read_text().splitlines()]
    labels = ["|".join(each) or "NONE" if isinstance(each, list) else str(each) for each in it.labels]
    pairs = zip(prompts, labels, strict=True)
    lines = [json.dumps({"id": prompt["id"], "answer": label}) + "\n" for prompt, label in pairs]
    answers.write_text("".join(lines))
    answered = token2wave.read_answers(rows, it.model, answers, **options).rows
    assert [row["label"] or "NONE" for row in answered] == labels


@way("Comparison of two models", "is-it-better.md")
def _compare(it: Trained) -> None:
    worse = it.kind.train(it.kind.train_rows[0][:12], it.kind.train_rows[1][:12]).classifier
    figures = token2wave.compare(worse, it.classifier, it.texts, it.labels).figures
    assert figures


@way("Drift", "drift.md")
def _drift(it: Trained) -> None:
    new, old = it.texts[: N_TEST // 2], it.texts[N_TEST // 2 :]
    assert token2wave.drift(it.classifier, new, reference=old).verdict == "none"
    drifted = token2wave.drift(it.classifier, new[:1] * N_TEST, reference=it.kind.train_rows[0])
    assert {test.name: test.verdict for test in drifted.tests}["labels"] == "large"


@way("Scoring of files", "scoring.md")
def _score(it: Trained) -> None:
    pages = it.kind.write(it.folder / "pages.jsonl", it.texts)
    token2wave.score(it.model, pages, it.folder / "out", probabilities=True, format="jsonl", workers=1)
    (part,) = (it.folder / "out" / "parts").glob("part-*")
    rows = [json.loads(line) for line in part.read_text().splitlines()]
    it.require_same([[row["probabilities"][name] for name in it.classifier.label_names] for row in rows])
    for row, prediction in zip(rows, it.classifier.predict_batch(it.texts), strict=True):
        said = tuple(row["labels"]) if it.classifier.multi_label else row["label"]
        assert said == (prediction.labels if it.classifier.multi_label else prediction.label)
        assert row.get("score") == (prediction.score and pytest.approx(prediction.score, abs=1e-5))


@way("Compression", "compressing.md")
def _compress(it: Trained) -> None:
    small = it.folder / "small.safetensors"
    token2wave.compress(it.model, small, data=it.train, test=it.test, storage="int8")
    assert small.stat().st_size < it.model.stat().st_size
    compressed = token2wave.load(small)
    it.require_right(compressed)
    assert compressed.scale == it.classifier.scale
    assert compressed.thresholds == it.classifier.thresholds


@way("Service", "serving.md")
def _service(it: Trained) -> None:
    pytest.importorskip("prometheus_client")
    from tests.serving.service_helpers import ask_in_process
    from token2wave.serving.app import create_app

    app = create_app(it.classifier)
    status, answer, _ = ask_in_process(app, {"texts": it.texts, "top_k": 99})
    assert status == 200, answer
    rows = [{each["label"]: each["probability"] for each in row["top"]} for row in answer["predictions"]]
    it.require_same([[row[name] for name in it.classifier.label_names] for row in rows])
    for document, prediction in zip(
        answer["predictions"], it.classifier.predict_batch(it.texts), strict=True
    ):
        if it.classifier.multi_label:
            assert [each["label"] for each in document["labels"]] == list(prediction.labels)
        else:
            assert document["label"] == prediction.label
        assert document.get("score") == prediction.score
    status, answer, _ = ask_in_process(app, {"text": it.texts[0]}, path="/explain")
    assert status == 200, answer
    for path in ("/", "/info", "/metrics", "/openapi.json", "/docs"):
        assert ask_in_process(app, b"", method="GET", path=path)[0] == 200


@way("Web page", "html.md")
def _page(it: Trained) -> None:
    from token2wave.serving.page import export_html

    page = it.folder / "page.html"
    export_html(it.classifier, page)
    node = shutil.which("node")
    if node is None:
        pytest.skip("node, which runs the page's engine, is not installed")
    letters, model = (
        re.search(rf'id="page-{name}">(.*?)</script>', page.read_text(encoding="utf-8"), re.S)[1]
        for name in ("letters", "model")
    )
    (it.folder / "model").write_bytes(base64.b64decode(model))
    case = {"model": str(it.folder / "model"), "letters": json.loads(letters)}
    run = subprocess.run(
        [node, ROOT / "tests" / "page" / "engine.mjs"],
        input=json.dumps([{**case, "texts": it.texts, "explained": it.texts[:1]}]),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    (answer,) = json.loads(run.stdout)
    it.require_same([each["probabilities"] for each in answer["predictions"]])


@way("ONNX", "onnx.md")
def _onnx(it: Trained) -> None:
    pytest.importorskip("onnxruntime")
    from token2wave.integrations.onnx import OnnxClassifier, export_onnx

    export_onnx(it.classifier, it.folder / "model.onnx")
    exported = OnnxClassifier(it.folder / "model.onnx")
    it.require_same(exported.probabilities(it.texts))
    answers = [it.kind.answer(each) for each in exported.predict_batch(it.texts)]
    assert it.kind.share_right(answers, it.labels) >= 0.9


@way("Hugging Face", "hugging-face.md")
def _hugging_face(it: Trained) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from token2wave.integrations.huggingface import export_huggingface, from_huggingface

    folder = it.folder / "exported"
    export_huggingface(it.classifier, folder)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = network.eval()(**tokenizer(it.texts, padding=True, return_tensors="pt")).logits
    it.require_same(logits.sigmoid() if it.classifier.multi_label else logits.softmax(dim=1))
    assert from_huggingface(network, tokenizer).fingerprint == it.classifier.fingerprint


@way("Model card", "hugging-face.md#share-on-the-hub")
def _model_card(it: Trained) -> None:
    pytest.importorskip("huggingface_hub")
    from token2wave.integrations.model_cards import model_card, training_command

    data = it.kind.write(it.folder / "data.jsonl", *it.kind.train_rows)
    _, *arguments = shlex.split(str(training_command(it.classifier, str(data))))
    arguments[arguments.index("--out") + 1] = str(it.folder / "again.safetensors")
    it.command(*arguments, "--device", "cpu", "--no-baseline")
    it.require_same_file(it.folder / "again.safetensors")
    card = str(model_card(it.classifier, evaluation=it.classifier.evaluate(it.texts, it.labels)))
    figure = "Spearman" if it.classifier.scale else "micro-F1" if it.classifier.multi_label else "accuracy"
    assert f"| {figure} | test, {N_TEST} texts |" in card


@way("scikit-learn", "scikit-learn.md")
def _sklearn(it: Trained) -> None:
    pytest.importorskip("sklearn")
    from sklearn.preprocessing import MultiLabelBinarizer

    from token2wave import WaveClassifier

    wrapped = WaveClassifier.from_classifier(it.classifier)
    options = {name: value for name, value in {**TRAINING, **it.kind.options}.items() if name != "baseline"}
    texts, labels = it.kind.train_rows
    y = MultiLabelBinarizer().fit_transform(labels) if it.classifier.multi_label else labels
    for estimator in (wrapped, WaveClassifier(**options).fit(texts, y)):
        it.require_same(estimator.predict_proba(it.texts))
        strings = [join_pair(*text) for text in it.texts] if it.classifier.is_pairs else it.texts
        logits = it.classifier.network.logits(it.classifier.features(strings))
        is_margin = logits.shape[1] == 2 and not it.classifier.multi_label
        expected = logits[:, 1] - logits[:, 0] if is_margin else logits
        np.testing.assert_allclose(estimator.decision_function(it.texts), expected, **CLOSE)
        predicted = estimator.predict(it.texts)
        if it.classifier.multi_label:
            names = it.classifier.label_names
            predicted = [[names[i] for i in np.flatnonzero(row)] for row in predicted]
        assert it.kind.share_right(list(predicted), it.labels) >= 0.9


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind], dict[str, Any]]:
    """The model of each kind and its files, made when first asked for."""
    made: dict[str, dict[str, Any]] = {}

    def make(kind: Kind) -> dict[str, Any]:
        if kind.name not in made:
            folder = tmp_path_factory.mktemp("kind")
            classifier = kind.train().classifier
            classifier.save(folder / "model.safetensors")
            made[kind.name] = {
                "kind": kind,
                "classifier": classifier,
                "model": folder / "model.safetensors",
                "train": kind.write(folder / "train.jsonl", *kind.train_rows),
                "test": kind.write(folder / "test.jsonl", *kind.test_rows),
            }
        return made[kind.name]

    return make


def _command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command prints. It ends well."""
    monkeypatch.setattr(sys, "argv", ["token2wave", *map(str, arguments)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main()
    printed = capsys.readouterr()
    assert not stop.value.code, printed.err
    return printed.out


def _refusal(error: Token2WaveError) -> str:
    """The line of an error. It says what was expected and found, and what to do."""
    message = str(error)
    assert "\n" not in message
    assert error.hint, f"a refusal without a hint: {message}"
    assert EXPECTED_AND_FOUND.search(message), f"a refusal that does not say what was expected: {message}"
    return message


def _outcome(run: Way, it: Trained) -> dict[str, str]:
    """What came of a way: whether it works, and what it says if it does not."""
    try:
        note = run(it)
    except MissingExtraError as error:
        pytest.skip(str(error))
    except Token2WaveError as error:
        written = {path for path in it.folder.rglob("*") if path.suffix not in (".jsonl", ".npz")}
        assert not written, f"a refusal that leaves {written} behind"
        return {"works": "no", "says": _refusal(error)}
    return {"works": "yes"} if note is None else {"works": "in part", "says": note}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("name", WAYS)
def test_a_way_works_or_refuses_in_one_line(
    name: str,
    kind: Kind,
    models: Callable[[Kind], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    monkeypatch.setattr("token2wave.training.label_quality.N_PARTITIONS", 1)  # in half the time
    command = partial(_command, monkeypatch, capsys)
    outcome = _outcome(WAYS[name][1], Trained(**models(kind), folder=tmp_path, command=command))
    record_property("outcome", (name, kind.name, outcome))
    recorded = RECORDED["outcomes"].get(name, {}).get(kind.name)
    assert outcome == recorded, f"docs/kinds.md says something else; renew it with: {RENEW}"


def test_the_page_has_these_kinds_and_ways() -> None:
    """No kind or way on the page is gone; ``tests/test_documents.py`` compares the page with the results."""
    assert RECORDED["kinds"] == {kind.name: kind.page for kind in KINDS}, RENEW
    assert RECORDED["ways"] == {name: page for name, (page, _) in WAYS.items()}, RENEW
    assert {name: [*row] for name, row in RECORDED["outcomes"].items()} == {
        name: [kind.name for kind in KINDS] for name in WAYS
    }, RENEW
