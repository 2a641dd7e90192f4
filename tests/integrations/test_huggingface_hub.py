"""Model cards, and classifiers on a hub, which is a server of this test."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace

import huggingface_hub
import pytest
import yaml
from hub_server import running_hub
from huggingface_cases import KINDS, TEXTS, corpus, random_classifier, trained
from typer.testing import CliRunner

import token2wave
from token2wave.cli.main import app
from token2wave.data import encode_labels
from token2wave.errors import DataError, MissingExtraError, ModelFileError, OutputError
from token2wave.features import WordPieceFeatures
from token2wave.integrations.hub_models import load_from_hub, push
from token2wave.integrations.huggingface import export_huggingface
from token2wave.integrations.model_cards import model_card, training_command
from token2wave.storage.encodings import as_int8

# In a process of its own, since the client reads the hub's address when it is imported.
SCRIPT = """
import json, sys, warnings
warnings.simplefilter("error")
import token2wave
from token2wave.integrations.hub_models import load_from_hub, push
from token2wave.integrations.model_cards import model_card
model, texts = sys.argv[1], json.loads(sys.argv[2])
classifier = token2wave.load(model)
said = {"own": classifier.probabilities(texts).tolist()}
card = model_card(classifier, repo_id="owner/plain", license="mit", files=["token2wave"])
said["address"] = push(classifier, "owner/plain", card=card, with_transformers=False, token="secret")
plain = load_from_hub("owner/plain")
said["plain"] = plain.probabilities(texts).tolist()
said["torch"] = "torch" in sys.modules
push(classifier, "owner/both", token="secret")
import token2wave.integrations.huggingface as hf
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
classify = pipeline("text-classification", model="owner/both", device="cpu")
said["pipeline"] = [{one["label"]: one["score"] for one in row} for row in classify(texts, top_k=None)]
found = AutoModelForSequenceClassification.from_pretrained("owner/both")
found.push_to_hub("owner/transformers", token="secret")
AutoTokenizer.from_pretrained("owner/both").push_to_hub("owner/transformers", token="secret")
said["transformers"] = load_from_hub("owner/transformers").probabilities(texts).tolist()
try:
    load_from_hub("owner/missing")
except token2wave.Token2WaveError as error:
    said["missing"] = str(error)
print(json.dumps(said))
"""


def test_push_and_load(tmp_path):
    classifier = trained("fast")
    classifier.save(tmp_path / "model.safetensors")
    with running_hub() as hub:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment |= {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "cache")}
        environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
        command = [sys.executable, "-c", SCRIPT, tmp_path / "model.safetensors", json.dumps(TEXTS)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr + "\n".join(hub.asked)
    results = json.loads(done.stdout.splitlines()[-1])
    assert results["address"] == f"{hub.address}/owner/plain"
    assert results["plain"] == results["own"]
    assert results["torch"] is False
    for row, own in zip(results["pipeline"], results["own"], strict=True):
        assert [row[name] for name in classifier.label_names] == pytest.approx(own, abs=1e-5)
    for row, own in zip(results["transformers"], results["own"], strict=True):
        assert row == pytest.approx(own, abs=1e-6)
    assert results["missing"].startswith("owner/missing: expected a classifier")
    assert set(hub.repositories["owner/plain"]) == {"README.md", "token2wave.safetensors"}
    assert {"config.json", "model.safetensors", "features.safetensors", "token2wave.safetensors"} <= set(
        hub.repositories["owner/both"]
    )
    assert b"license: mit" in hub.repositories["owner/plain"]["README.md"]
    assert (
        b'pipeline("text-classification", model="owner/both")' in hub.repositories["owner/both"]["README.md"]
    )
    assert "POST /api/validate-yaml" in hub.asked
    assert "Bearer secret" in hub.tokens


def test_folders_load_like_repositories(tmp_path):
    classifier = random_classifier("small")
    export_huggingface(classifier, tmp_path / "model")
    assert load_from_hub(tmp_path / "model").fingerprint == classifier.fingerprint
    random_classifier("paper").save(tmp_path / "model" / "token2wave.safetensors")
    assert load_from_hub(tmp_path / "model").features.type_name == "wordpiece"  # the plain file comes first
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot be loaded"):
        load_from_hub(tmp_path / "empty")
    (tmp_path / "empty" / "token2wave.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelFileError):
        load_from_hub(tmp_path / "empty")


def test_unreachable_hub(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(DataError, match=r"owner/name: .*ConnectionError: no route"):
        load_from_hub("owner/name")
    monkeypatch.setattr(huggingface_hub, "create_repo", refuse)
    with pytest.raises(OutputError, match=r"owner/name: cannot be pushed.*no route"):
        push(random_classifier("fast"), "owner/name", with_transformers=False)


def test_missing_client_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (
        lambda: load_from_hub("owner/name"),
        lambda: push(random_classifier("fast"), "owner/name"),
        lambda: model_card(random_classifier("fast")),
    ):
        with pytest.raises(MissingExtraError, match=r"pip install 'token2wave\[hub\]'"):
            call()


# ---- cards ----


@pytest.mark.parametrize("kind", KINDS)
def test_the_hubs_reader_reads_cards(kind):
    card = model_card(random_classifier(kind), license="apache-2.0", language=["en", "de"])
    again = huggingface_hub.ModelCard(str(card))
    assert again.data.to_dict() == card.data.to_dict()
    assert again.data.license == "apache-2.0"
    assert again.data.pipeline_tag == "text-classification"
    assert again.data.language == ["en", "de"]
    assert "None are known." in again.text
    assert "neu é\\|\\*" in again.text  # a label's own marks are no Markdown
    order = "The order of a text's words makes no difference" in again.text
    assert order is not random_classifier(kind).network.config.uses_order
    assert ("it knows some character n-grams" in again.text) is (kind == "oov")


def test_cards_have_the_metrics_of_an_evaluation():
    classifier = trained("fast")
    train = corpus().train
    truth = encode_labels(train, classifier.label_names)
    evaluation = classifier.evaluate(train.texts, truth)
    card = model_card(
        classifier, evaluation=evaluation, dataset="owner/data", caveats=["Only *some* of the data."]
    )
    results = {(result.metric_name, result.metric_value) for result in card.data.eval_results}
    assert ("Accuracy", round(evaluation.accuracy, 4)) in results
    assert ("Macro-F1", round(evaluation.macro_f1, 4)) in results
    assert {(r.dataset_type, r.dataset_split) for r in card.data.eval_results} == {("owner/data", "test")}
    assert f"| accuracy | test, 360 texts | {evaluation.accuracy:.4f} |" in card.text
    assert f"| {classifier.training['evaluation']['accuracy']:.4f} |" not in card.text  # one evaluation
    assert "Only \\*some\\* of the data." in card.text
    assert yaml.safe_load(card.data.to_yaml())["datasets"] == ["owner/data"]


def test_cards_of_multi_label_models_and_cross_validated_rows():
    card = model_card(trained("several labels"))
    assert "any number of these labels, or none" in card.text
    assert "| micro-F1 | cross-validation, " in card.text
    assert {result.dataset_split for result in card.data.eval_results} == {"cross-validation"}


@pytest.mark.parametrize("preset", ["small", "fast", "paper"])
def test_the_command_of_a_card_trains_the_same_model(preset, tmp_path, monkeypatch):
    """The command includes the settings that little data decided."""
    monkeypatch.chdir(tmp_path)
    train = corpus().train
    lines = [
        json.dumps({"text": text, "label": label})
        for text, label in zip(train.texts[:80], train.labels[:80], strict=True)
    ]
    (tmp_path / "some data.jsonl").write_text("\n".join(lines))
    wide = {"network.width": 24, "network.linear_svm": False} if preset == "small" else {"network.width": 16}
    small = {"features.vocabulary_size": 300} if preset == "paper" else {"features.ngrams": 1}
    classifier = token2wave.train(
        "some data.jsonl", preset=preset, epochs=2, seed=5, class_weights="balanced", settings=wide | small
    ).classifier
    command = shlex.split(training_command(classifier, "some data.jsonl"))
    assert command[:2] == ["token2wave", "train"]
    done = CliRunner().invoke(app, command[1:])
    assert done.exit_code == 0, done.output
    again = token2wave.load("token2wave.safetensors")
    assert again.fingerprint == classifier.fingerprint


def test_cards_of_updated_and_taught_models():
    classifier = trained("fast")
    updates = [{"rows": 12, "parts": "network", "epochs": 1, "seed": 0}]
    teacher_info = {"teacher": "/home/secret/minilm", "unlabelled": None, "updates": updates}
    updated = replace(
        classifier,
        training={**classifier.training, **teacher_info},
        encoded={"embedding.weight": as_int8(classifier.network.arrays()["embedding.weight"])},
    )
    card = model_card(updated)
    assert "12 texts (network)" in card.text
    assert ", before it was updated |" in card.text
    assert not card.data.eval_results  # they belong to the model before the update
    assert "--teacher minilm" in card.text
    assert "compressed after training" in card.text
    assert "secret" not in str(card)
    paper = random_classifier("paper")
    features = WordPieceFeatures(
        paper.features.config.replace(vocabulary="vocab.txt"), paper.features.vocabulary
    )
    record = {"preset": "paper", "recipe": {}}
    command = training_command(replace(paper, features=features, training=record))
    assert "--vocabulary vocab.txt" in command


def test_a_model_without_a_record_has_no_command():
    assert training_command(random_classifier("fast")) is None
