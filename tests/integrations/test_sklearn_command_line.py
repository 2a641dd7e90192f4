"""The estimator predicts like the command line to the last bit, for the same texts, settings and seed."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn_data import QUICK, QUICK_OPTIONS, made_up, written

import token2wave
from token2wave import WaveClassifier
from token2wave.cli.main import main
from token2wave.training.prior_rows import prior_of_texts

TEXTS, LABELS = made_up(300)
MORE, MORE_LABELS = made_up(80, seed=1)
SEED = 5

pytestmark = pytest.mark.prior  # the command line uses it


def token2wave_command(*arguments):
    """Run the command line in this process, with the prior, also for models that tests share."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(io.StringIO()):
        patch.setattr(sys, "argv", ["token2wave", *map(str, arguments)])
        patch.setattr("token2wave.training.run.prior_of_texts", prior_of_texts)
        with pytest.raises(SystemExit) as stop:
            main()
    assert not stop.value.code
    return printed.getvalue()


def trained(folder, data, *options):
    """Train with the command on a file or folder, and load the model."""
    out = folder / "model.safetensors"
    token2wave_command("train", data, "--out", out, "--seed", SEED, *QUICK_OPTIONS, *options)
    return token2wave.load(out)


@pytest.fixture(scope="module", params=["fast", "small"])
def preset(request):
    return request.param


@pytest.fixture(scope="module")
def command_line(preset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("command_line")
    return trained(folder, written(folder / "texts.csv", TEXTS, LABELS), "--preset", preset)


def same(estimator, classifier):
    np.testing.assert_array_equal(estimator.predict_proba(MORE), classifier.probabilities(MORE))
    assert estimator.predict(MORE).tolist() == classifier.labels(MORE)


def test_alone(preset, command_line):
    same(WaveClassifier(preset, random_state=SEED, **QUICK).fit(TEXTS, LABELS), command_line)


def test_in_a_pipeline_under_grid_search(preset, command_line):
    """The refit trains on all rows in their order, like the command."""
    estimator = WaveClassifier(preset, random_state=SEED, epochs=3, settings=QUICK["settings"])
    search = GridSearchCV(Pipeline([("wave", estimator)]), {"wave__epochs": [1]}, cv=2)
    same(search.fit(np.array(TEXTS, dtype=object), LABELS), command_line)


def test_in_calibration(preset, command_line):
    """The calibrated classifier is trained on all rows, or frozen."""
    estimator = WaveClassifier(preset, random_state=SEED, **QUICK)
    whole = CalibratedClassifierCV(estimator, ensemble=False, cv=2).fit(TEXTS, LABELS)
    same(whole.calibrated_classifiers_[0].estimator, command_line)
    frozen = FrozenEstimator(WaveClassifier.from_classifier(command_line))
    calibrated = CalibratedClassifierCV(frozen).fit(MORE, MORE_LABELS)
    same(calibrated.calibrated_classifiers_[0].estimator, command_line)


def test_with_a_validation_file(preset, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    written(folder / "train.csv", TEXTS, LABELS)
    written(folder / "validation.csv", MORE, MORE_LABELS)
    classifier = trained(tmp_path, folder, "--preset", preset)
    estimator = WaveClassifier(preset, random_state=SEED, **QUICK)
    same(estimator.fit(TEXTS, LABELS, X_val=MORE, y_val=MORE_LABELS), classifier)


def test_with_class_weights_and_numeric_labels(tmp_path):
    """Numbers from 0 to 11, whose names sort differently."""
    numbers = [{"money": 0, "space": 4, "sport": 8}[x] + 3 * (row % 2) for row, x in enumerate(LABELS)]
    path = written(tmp_path / "texts.csv", TEXTS, list(map(str, numbers)))
    weights = {11: 5.0, 0: 2.0}
    as_json = json.dumps({str(number): weight for number, weight in weights.items()})
    classifier = trained(tmp_path, path, "--preset", "fast", "--class-weights", as_json)
    estimator = WaveClassifier("fast", random_state=SEED, class_weight=weights, **QUICK).fit(TEXTS, numbers)
    assert estimator.classes_.tolist() == [0, 3, 4, 7, 8, 11]
    np.testing.assert_array_equal(estimator.predict_proba(MORE), classifier.probabilities(MORE))


def test_with_several_labels(tmp_path):
    sets = [sorted({LABELS[i], LABELS[(i + 1) % 300]}) if i % 3 else [LABELS[i]] for i in range(300)]
    path = written(tmp_path / "texts.csv", TEXTS, ["|".join(names) for names in sets])
    classifier = trained(tmp_path, path, "--preset", "fast", "--label-separator", "|")
    names = sorted(set(LABELS))
    y = np.array([[name in label_set for name in names] for label_set in sets], dtype=int)
    estimator = WaveClassifier("fast", random_state=SEED, **QUICK).fit(TEXTS, y)
    np.testing.assert_array_equal(estimator.predict_proba(MORE), classifier.probabilities(MORE))
    label_set = [tuple(names[i] for i in np.flatnonzero(row)) for row in estimator.predict(MORE)]
    assert label_set == classifier.label_sets(MORE)


def test_command_predict(tmp_path):
    trained(tmp_path, written(tmp_path / "texts.csv", TEXTS, LABELS), "--preset", "fast")
    printed = token2wave_command("predict", tmp_path / "model.safetensors", "--json", *MORE[:5])
    estimator = WaveClassifier("fast", random_state=SEED, **QUICK).fit(TEXTS, LABELS)
    labels = [prediction["label"] for prediction in json.loads(printed.splitlines()[-1])]
    assert labels == estimator.predict(MORE[:5]).tolist()


def test_the_order_of_rows_matters(command_line, preset):
    estimator = WaveClassifier(preset, random_state=SEED, **QUICK).fit(TEXTS[::-1], LABELS[::-1])
    assert (estimator.predict_proba(MORE) != command_line.probabilities(MORE)).any()
