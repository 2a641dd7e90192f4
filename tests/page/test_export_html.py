"""Export of a classifier as one HTML file."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from page_texts import HOSTILE
from small_models import torch_classifier
from stored_models import classifier_of, in_storage

from token2wave.classifier import Classifier
from token2wave.errors import ConfigError, OutputError
from token2wave.features import WordConfig, WordFeatures
from token2wave.inference.compiled import compile_network
from token2wave.models import WaveConfig
from token2wave.serving import page as page_module
from token2wave.serving.page import export_html


def test_the_page_contains_the_model_file(tmp_path: Path) -> None:
    classifier = classifier_of("linear_svm", "lzma")
    n_bytes = export_html(classifier, tmp_path / "a.html", title="T", examples=["a </script> b", *HOSTILE])
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
    n_page = export_html(small, tmp_path / "model.html")
    assert n_page - n_model * 4 / 3 < 150_000
    assert n_page <= 1_600_000


def test_export_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        export_html(classifier_of("fast"), tmp_path / "nowhere" / "a.html")
    with pytest.raises(ConfigError, match="cannot be compiled"):
        export_html(torch_classifier(), tmp_path / "a.html")
    with pytest.raises(ConfigError, match="at most 20 examples, found 21"):
        export_html(classifier_of("fast"), tmp_path / "a.html", examples=["a"] * 21)
    monkeypatch.setattr(page_module, "MAX_MODEL_BYTES", 1_000)
    with pytest.raises(ConfigError, match=r"token2wave compress --max-size 1MB"):
        export_html(classifier_of("fast"), tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []


def test_size_of_a_wordpiece_page(tmp_path: Path) -> None:
    n_page = export_html(classifier_of("paper"), tmp_path / "paper.html")
    n_model = classifier_of("paper").save(tmp_path / "model.safetensors")
    assert n_page - n_model * 4 / 3 < 150_000


def test_the_title_is_the_files_name_by_default(tmp_path: Path) -> None:
    export_html(classifier_of("fast"), tmp_path / "news & <more>.html")
    assert "<title>news &amp; &lt;more&gt;</title>" in (tmp_path / "news & <more>.html").read_text("utf-8")


def test_nothing_imports_torch() -> None:
    code = "import sys, token2wave.serving.page; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
