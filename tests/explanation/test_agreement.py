"""Agreement of parts against the waves of torch, token by token."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_explanation_compute import MODELS, model

from token2wave.classifier import Classifier
from token2wave.errors import ConfigError, InputError
from token2wave.explanation import part_agreement
from token2wave.explanation.agreement import MAX_TOKENS
from token2wave.features import Ragged
from token2wave.waves import Wave, interference_term, wave

TEXT = "a good film. don't, a bad x-ray!"


def waves_of(classifier: Classifier, text: str) -> tuple[Ragged, Wave, Wave]:
    """Features of a text, and both waves of each by the torch network."""
    network: Any = classifier.network
    features = classifier.require_texts("explain")([text])
    embedded = network.embedding(torch.from_numpy(features.ids.astype(np.int64)))
    layer = network.layers[0]
    both = embedded if layer.variants is None else layer.variants(embedded)
    width = network.config.width
    offsets = torch.tensor([0, len(features.ids)])
    first, second = (wave(both[:, at : at + width].double(), offsets) for at in (0, width))
    return features, first, second


@pytest.mark.parametrize("name", MODELS)
def test_tokens_agree_as_the_waves_of_torch_do(name: str) -> None:
    classifier = model(name)
    result = part_agreement(classifier, TEXT, "token")
    features, first, second = waves_of(classifier, TEXT)
    rows = classifier.features.tokens(TEXT)
    with torch.no_grad():
        term = [
            [
                interference_term(Wave(*(c[i] for c in first)), Wave(*(c[j] for c in second))).sum().item()
                for j in range(len(features.ids))
            ]
            for i in range(len(features.ids))
        ]
        largest = (2 * first.magnitude[0] * second.magnitude[0]).sum().item()
    has_cls = int(name in ("paper", "cls", "trigrams"))
    known = np.array(
        [
            bool(classifier.require_texts("explain").known(rows.codes[i : i + 1])[0])
            for i in range(len(rows.codes))
        ]
    )
    places = has_cls + np.arange(int(known.sum()))  # the known tokens follow [CLS]; n-grams come last
    expected = np.array(term)[np.ix_(places, places)] / largest
    np.testing.assert_allclose(result.values[np.ix_(known, known)], expected, rtol=0, atol=1e-6)
    assert result.values.max() <= 1 + 1e-12
    assert [TEXT[a:b] for a, b in result.spans.tolist()] == [
        TEXT[span.start : span.end] for span in classifier.explain(TEXT, "token").parts
    ]


@pytest.mark.parametrize("name", ["small", "paper"])
def test_parts_of_several_tokens_agree_by_the_mean_of_these(name: str) -> None:
    tokens = part_agreement(model(name), TEXT, "token")
    sentences = part_agreement(model(name), TEXT, "sentence")
    assert len(sentences.spans) == 2
    first = tokens.spans[:, 0] < sentences.spans[1, 0]
    expected = [[tokens.values[np.ix_(a, b)].mean() for b in (first, ~first)] for a in (first, ~first)]
    np.testing.assert_allclose(sentences.values, expected, rtol=1e-12)


def test_a_text_without_tokens_or_known_words_has_no_agreement() -> None:
    nothing = part_agreement(model("small"), " \n")
    assert nothing.spans.shape == (0, 2)
    assert nothing.values.shape == (0, 0)
    assert not part_agreement(model("small"), "unseen zzz").values.any()


def test_what_has_no_agreement_is_refused() -> None:
    with pytest.raises(InputError):
        part_agreement(model("small"), 3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unit"):
        part_agreement(model("small"), TEXT, "line")
    with pytest.raises(ConfigError, match="at most 2,048 tokens, found 2,049; give a passage"):
        part_agreement(model("small"), "a " * (MAX_TOKENS + 1))
