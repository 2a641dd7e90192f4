"""The benchmark of vectors in small: what the nearest rows say, and that rows and texts are apart."""

import json

import numpy as np
import vectors
from tables import vectors_table

WORDS = {0: "bank market money", 1: "goal team coach", 2: "actor plot scene", 3: "law vote party"}


def write_data(folder):
    random = np.random.default_rng(0)
    (folder / "news").mkdir()
    rows = []
    for i in range(400):
        words = [*random.choice(WORDS[i % 4].split(), 2), *random.choice(["the", "of", "a"], 2), f"n{i}"]
        rows.append(json.dumps({"text": " ".join(words), "label": f"label {i % 4}"}))
    (folder / "news" / "train.jsonl").write_text("\n".join(rows))


def test_accuracy_of_neighbours():
    products = np.array([[0.9, 0.8, 0.7, 0.1], [0.1, 0.2, 0.3, 0.4]])
    labels, truth = np.array([0, 1, 1, 2]), np.array([1, 2])
    assert vectors.neighbour_accuracy(products, labels, truth, 1) == 0.5
    assert vectors.neighbour_accuracy(products, labels, truth, 3) == 0.5  # 1 wins by votes; then 1 of 2, 1, 1
    assert vectors.neighbour_accuracy(products, labels, np.array([0, 2]), 2) == 1.0  # the nearest of a tie


def test_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN2WAVE_DATA", str(tmp_path))
    write_data(tmp_path)
    arguments = ["--data", "news", "--unseen", "news", "--rows", "200", "--texts", "60", "--preset", "fast"]
    arguments += ["--neighbours", "1,5", "--variants", "--results", str(tmp_path)]
    monkeypatch.setattr(vectors, "SVD_WIDTH", 4)
    assert vectors.main(arguments) == 0
    document = json.loads((tmp_path / "vectors.json").read_text())
    seen, unseen = document["runs"]
    assert (seen["rows"], seen["texts"], seen["classes"]) == (200, 60, 4)
    assert unseen["classes"] == 2
    assert unseen["rows"] < 200
    assert unseen["model_accuracy"] is None
    assert seen["vectors"]["wave"]["accuracy"]["5"] > 0.9
    assert {"tfidf", "tfidf_svd", "equal_parts", "logits"} <= seen["vectors"].keys()
    table = vectors_table(document)
    assert "| news, unseen classes |" in table
    assert f"| {100 * seen['vectors']['tfidf']['accuracy']['1']:.1f} |" in table
