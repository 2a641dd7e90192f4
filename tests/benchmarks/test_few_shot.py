"""Few rows: how they are drawn, and that runs are kept and resumed."""

import json
import sys

import few_shot
import numpy as np


def test_rows_are_drawn_by_class_or_in_all():
    labels = np.repeat([0, 1, 2], [50, 30, 5])
    rows = few_shot.draw_rows(labels, "8", 0)
    assert np.bincount(labels[rows]).tolist() == [8, 8, 5]
    assert len(set(few_shot.draw_rows(labels, "40 in all", 0))) == 40
    assert few_shot.draw_rows(labels, "8", 1).tolist() != rows.tolist()
    smaller = set(few_shot.draw_rows(labels, "4", 0))
    assert smaller < set(rows)


def test_runs_are_kept_and_resumed(tmp_path, monkeypatch, capsys):
    class Ours:
        name, description = "ours", "Ours."

        def prepare(self, task):
            tasks.append((len(task.texts), task.seed))

        def fit(self, task):
            return 0

        def predict(self, model, texts):
            return np.zeros(len(texts), dtype=np.int64)

    tasks = []
    monkeypatch.setattr(few_shot, "load_system", lambda name: Ours())
    command = ["few_shot.py", "--data=debian-sections", "--rows=2", "--rows-in-all=30", "--systems=small"]
    for draws in (1, 2):
        arguments = [*command, "--results", str(tmp_path), "--draws", str(draws), "--resume"]
        monkeypatch.setattr(sys, "argv", arguments)
        few_shot.main()
    assert tasks == [(32, 0), (30, 0), (32, 1), (30, 1)]
    rows = json.loads((tmp_path / "few_shot.json").read_text())["rows"]["debian-sections"]
    assert [set(run) for run in rows["2"]["small"]] == 2 * [{"accuracy", "train_seconds"}]
    assert "texts_per_second" in rows["30 in all"]["small"][0]
    assert "debian-sections" in capsys.readouterr().out
