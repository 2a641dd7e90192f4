"""Export of a classifier as one HTML file."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from make_golden import USUAL
from page_texts import HOSTILE
from small_models import torch_classifier
from stored_models import classifier_of, in_storage

from token2wave.classifier import Classifier, load
from token2wave.compression import by_weight
from token2wave.compression.encoder import final_size
from token2wave.errors import ConfigError, OutputError
from token2wave.features import WordConfig, WordFeatures, fit_features
from token2wave.inference.compiled import compile_network
from token2wave.models import WaveConfig
from token2wave.serving import page as page_module
from token2wave.serving.page import describe_model, export_html, page_html

EVALUATION = {
    "evaluated_on": "test",
    "rows": 400,
    "accuracy": 0.9125,
    "macro_f1": 0.9,
    "interval": [0.88, 0.94],
}
USUAL_TEXTS = ["a good film", "bad films!", "don't", "zebra"]


def test_the_page_contains_the_model_file(tmp_path: Path) -> None:
    classifier = classifier_of("linear_svm", "lzma")
    examples = ["a </script> b", *HOSTILE]
    n_bytes = export_html(classifier, tmp_path / "a.html", title="T", examples=examples).n_bytes
    page = (tmp_path / "a.html").read_text("utf-8")
    assert n_bytes == (tmp_path / "a.html").stat().st_size
    classifier.save(tmp_path / "same")
    match = re.search(r'id="page-model">([^<]*)</script>', page)
    assert match is not None
    assert base64.b64decode(match[1], validate=True) == (tmp_path / "same").read_bytes()
    assert "connect-src &#x27;none&#x27;" in page
    assert page.count("</script>") == 4
    export_html(classifier, tmp_path / "b.html", title="T", examples=["a </script> b", *HOSTILE])
    assert (tmp_path / "b.html").read_bytes() == (tmp_path / "a.html").read_bytes()


def test_size_of_a_page_with_a_model_of_one_megabyte(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    buckets = np.sort(random.choice(1 << 22, 14_000, replace=False)).astype(np.uint32)
    config = WaveConfig(len(buckets), 4, width=32, variants="rows", readout="text", context_width=32)
    arrays = {
        name: random.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in config.parameter_shapes().items()
    }
    network = compile_network(config, arrays)
    whole = Classifier(WordFeatures(WordConfig(), buckets), network, ("a", "b", "c", "d"))
    small = in_storage(whole, "int8")
    n_model = small.save(tmp_path / "model.safetensors")
    assert 900_000 < n_model <= 1_000_000
    n_page = export_html(small, tmp_path / "model.html").n_bytes
    assert n_page - n_model * 4 / 3 < 150_000
    assert n_page <= 1_600_000


def large_model(n_rows: int = 40_000) -> Classifier:
    """A model whose page would have more than 10 MB; it knows the usual words, too."""
    random = np.random.default_rng(0)
    buckets = set(random.choice(1 << 22, n_rows, replace=False).tolist())
    usual, _ = fit_features(USUAL_TEXTS[:3], WordConfig(min_count=1))
    buckets |= set(usual.buckets.tolist())
    features = WordFeatures(WordConfig(), np.array(sorted(buckets), dtype=np.uint32))
    config = WaveConfig(len(buckets), 4, width=32, variants="rows", readout="text")
    arrays = {
        name: random.laplace(0, 0.3, shape).astype(np.float32)
        for name, shape in config.parameter_shapes().items()
    }
    network = compile_network(config, arrays)
    return Classifier(features, network, ("a", "b", "c", "d"), novelty_reference=USUAL)


def model_in(page: Path, folder: Path) -> Classifier:
    match = re.search(r'id="page-model">([^<]*)</script>', page.read_text("utf-8"))
    assert match is not None
    (folder / "inside").write_bytes(base64.b64decode(match[1]))
    return load(folder / "inside")


def test_a_large_model_is_compressed_until_the_page_fits(tmp_path: Path) -> None:
    whole = large_model()
    whole.training["evaluation"] = EVALUATION
    n_model = whole.save(tmp_path / "whole")
    for max_size, least, limit in (("2MB", 1_800_000, 2_000_000), (700_000, 600_000, 700_000)):
        exported = export_html(whole, tmp_path / "a.html", max_size=max_size, examples=USUAL_TEXTS)
        assert least < exported.n_bytes == (tmp_path / "a.html").stat().st_size <= limit
        assert exported.is_compressed
        assert exported.model_bytes_before == n_model > 10_000_000
        assert exported.problem is None
    assert export_html(whole, tmp_path / "b.html").n_bytes <= 2_000_000
    small = model_in(tmp_path / "b.html", tmp_path)
    np.testing.assert_allclose(small.probabilities(USUAL_TEXTS), whole.probabilities(USUAL_TEXTS), atol=0.1)
    assert [each.known for each in small.predict_batch(USUAL_TEXTS)] == [True, True, True, False]
    novelty, expected = small.novelty(USUAL_TEXTS), whole.novelty(USUAL_TEXTS)
    assert novelty is not None
    assert expected is not None
    np.testing.assert_allclose(novelty, expected, atol=0.15)  # all words are still known
    page = (tmp_path / "b.html").read_text("utf-8")
    assert "Before it was made smaller for this page, it was right on 91.2% of 400 test texts." in page
    assert small.training["evaluation"] is None


def test_the_model_stays_as_it_is_where_that_is_asked_for_or_fits(tmp_path: Path) -> None:
    whole = large_model()
    whole.save(tmp_path / "whole")
    exported = export_html(whole, tmp_path / "a.html", max_size=None)
    assert not exported.is_compressed
    assert exported.n_bytes > 10_000_000
    model_in(tmp_path / "a.html", tmp_path)
    assert (tmp_path / "inside").read_bytes() == (tmp_path / "whole").read_bytes()
    assert not export_html(classifier_of("fast"), tmp_path / "b.html").is_compressed


def test_an_export_never_fails_because_of_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = export_html(classifier_of("fast"), tmp_path / "a.html", max_size=1_000)
    assert not exported.is_compressed
    assert exported.n_bytes > 1_000
    monkeypatch.setattr(by_weight, "compress_by_weights", lambda *_: None)
    exported = export_html(large_model(), tmp_path / "b.html")
    assert exported.n_bytes > 10_000_000
    assert exported.problem == "the model cannot be made small enough without its training texts"


def test_words_are_dropped_only_where_they_alone_fill_the_file() -> None:
    whole = large_model()
    small = by_weight.compress_by_weights(whole, 100_000)  # their numbers take about 60,000
    assert small is not None
    assert small.features.n_rows < whole.features.n_rows
    assert small.novelty_reference is None  # more would be unknown now than when it was measured
    assert final_size(small.to_file()) <= 100_000
    assert by_weight.compress_by_weights(whole, 500) is None


def test_the_description_says_what_the_model_does() -> None:
    model = classifier_of("fast")
    names = "<bdi>neg</bdi>, <bdi>pos é</bdi> and <bdi>日本</bdi>"
    assert describe_model(model) == f"Sorts a text into one of 3 classes: {names}."
    model = replace(model, training={"evaluation": EVALUATION})
    text = "Sorts a text into one of 3 classes: neg, pos é and 日本. It was right on 91.2% of 400 test texts."
    assert describe_model(model, in_html=False) == text
    assert f'<meta name="description" content="{text}">' in page_html(model, "T")
    several = replace(classifier_of("several"), training={"evaluation": {**EVALUATION, "micro_f1": 0.9}})
    assert describe_model(several, in_html=False) == (
        "Says which of 3 labels a text has: neg, pos é and 日本. "
        "All its labels were right for 91.2% of 400 test texts."
    )
    many = replace(model, label_names=tuple(f"<{i}>" for i in range(1_200)))
    expected = "1,200 classes: &lt;0&gt;, &lt;1&gt;, &lt;2&gt;, &lt;3&gt; and 1,196 more."
    assert expected in describe_model(many, in_html=False)
    updated = replace(model, training={"evaluation": EVALUATION, "updates": [{}]})
    assert "right" not in describe_model(updated)


def test_export_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        export_html(classifier_of("fast"), tmp_path / "nowhere" / "a.html")
    with pytest.raises(ConfigError, match="cannot be compiled"):
        export_html(torch_classifier(), tmp_path / "a.html")
    with pytest.raises(ConfigError, match="at most 20 examples, found 21"):
        export_html(classifier_of("fast"), tmp_path / "a.html", examples=["a"] * 21)
    with pytest.raises(ConfigError, match="max_size: expected a size such as 1MB"):
        export_html(classifier_of("fast"), tmp_path / "a.html", max_size="small")
    monkeypatch.setattr(page_module, "MAX_MODEL_BYTES", 1_000)
    with pytest.raises(ConfigError, match=r"token2wave compress --max-size 1MB"):
        export_html(classifier_of("fast"), tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []


def test_size_of_a_wordpiece_page(tmp_path: Path) -> None:
    n_page = export_html(classifier_of("paper"), tmp_path / "paper.html").n_bytes
    n_model = classifier_of("paper").save(tmp_path / "model.safetensors")
    assert n_page - n_model * 4 / 3 < 150_000


def test_the_title_is_the_files_name_by_default(tmp_path: Path) -> None:
    export_html(classifier_of("fast"), tmp_path / "news & <more>.html")
    assert "<title>news &amp; &lt;more&gt;</title>" in (tmp_path / "news & <more>.html").read_text("utf-8")


def test_nothing_imports_torch() -> None:
    code = "import sys, token2wave.serving.page; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
