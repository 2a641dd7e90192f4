"""The metrics of a service count what drift is measured from, and hold no text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("prometheus_client")

from service_helpers import TEXTS, make_classifier

import token2wave
from token2wave.errors import ModelFileError
from token2wave.features import WordConfig, WordFeatures
from token2wave.inference.compiled import compile_network
from token2wave.inference.drift_sums import DriftSums
from token2wave.models.wave_config import WaveConfig
from token2wave.serving import prometheus
from token2wave.serving.batching import Batcher
from token2wave.serving.limits import ServiceLimits
from token2wave.serving.model_store import ServedModel
from token2wave.serving.prometheus import MAX_LABELS, OTHER, ServiceMetrics, read_drift_sums

HOSTILE = ["", "\ud800", "\0", "qqq " * 999, "market \u2028 game", "\U0010ffff", *TEXTS[:20]]


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the features of all texts."""
    monkeypatch.setattr(prometheus, "MAX_CREDIT", 1e9)
    monkeypatch.setattr(prometheus, "MAX_MEASURED", 1 << 20)


def served(*classifiers: Any, texts: list[str], name: str = "news") -> ServiceMetrics:
    """The metrics after each classifier has predicted the texts."""
    metrics = ServiceMetrics()
    batcher = Batcher(ServiceLimits(), metrics)
    for classifier in classifiers:
        model = ServedModel(name, classifier, ServiceLimits(), metrics)
        for first in range(0, len(texts), 7):
            batcher.compute(model, texts[first : first + 7])
    batcher.close()
    return metrics


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("options", [{}, {"multi_label": True}, {"novelty": False}])
def test_the_page_holds_the_sums_of_the_texts(options: dict[str, bool]) -> None:
    classifier = make_classifier(**options)
    page = served(classifier, texts=HOSTILE, name="n\ud800\n").text().decode()
    expected = DriftSums.of_texts(classifier, HOSTILE)
    sums = read_drift_sums(page, classifier)
    assert sums.confidence_sum == pytest.approx(expected.confidence_sum, abs=1e-4)
    assert replace(sums, confidence_sum=expected.confidence_sum) == expected
    assert sums - sums == DriftSums.empty(3)
    assert f'{{checksum="{classifier.fingerprint:08x}",model="n' in page
    assert not any(text in page for text in TEXTS[:20])


@pytest.mark.usefixtures("busy")
def test_the_sums_are_compared_like_any_others() -> None:
    classifier = make_classifier()
    reference = DriftSums.of_texts(classifier, TEXTS)
    page = served(classifier, texts=TEXTS[:150]).text().decode()
    result = token2wave.drift(
        replace(classifier, drift_reference=reference), read_drift_sums(page, classifier)
    )
    assert (result.verdict, result.new.rows) == ("none", 150)


def test_counting_features_takes_a_bounded_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "MAX_CREDIT", 1e-9)
    monkeypatch.setattr(prometheus, "MAX_BUSY", 0.0)
    sums = read_drift_sums(served(classifier := make_classifier(), texts=TEXTS).text().decode(), classifier)
    assert sums.rows == len(TEXTS)
    assert 0 < sums.n_measured <= prometheus.MAX_MEASURED


def test_what_cannot_be_measured_is_predicted_and_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, text = make_classifier(), "market " * prometheus.MAX_LENGTH
    assert read_drift_sums(served(classifier, texts=[text]).text().decode(), classifier).n_measured == 0

    def fail(*_: object) -> None:
        raise ModelFileError("the weights overflow")

    monkeypatch.setattr(prometheus, "measure_features", fail)
    sums = read_drift_sums(served(classifier, texts=TEXTS[:9]).text().decode(), classifier)
    assert (sums.rows, sums.n_measured) == (9, 0)


def test_another_model_has_counters_of_its_own_and_the_old_ones_end() -> None:
    first, second = make_classifier(0), make_classifier(1)
    page = served(first, second, texts=TEXTS[:20]).text().decode()
    assert f"{first.fingerprint:08x}" not in page
    assert read_drift_sums(page, second).rows == 20


def test_many_labels_are_counted_together() -> None:
    names = tuple(f"label {i}" for i in range(MAX_LABELS + 50))
    features = WordFeatures.fit(TEXTS, WordConfig(bits=12, min_count=1, cls=True))
    config = WaveConfig(n_rows=features.n_rows, n_classes=len(names), width=8)
    random = np.random.default_rng(0)
    shapes = config.parameter_shapes().items()
    arrays = {name: random.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes}
    classifier = replace(
        make_classifier(), features=features, network=compile_network(config, arrays), label_names=names
    )
    page = served(classifier, texts=TEXTS).text().decode()
    assert page.count("token2wave_predicted_labels_total{") == MAX_LABELS
    assert f'label="{OTHER}"' in page
    sums, whole = read_drift_sums(page, classifier), DriftSums.of_texts(classifier, TEXTS)
    assert sum(sums.labels) == len(TEXTS)
    assert sums.labels[-1] == sum(whole.labels[MAX_LABELS - 1 :])
    result = token2wave.drift(replace(classifier, drift_reference=whole), sums)
    assert result.tests[0].verdict == "none"
