from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from paper.rivals.transformer import TransformerConfig
from token2wave.config import Configuration
from token2wave.errors import ConfigError
from token2wave.features import PairConfig, WordConfig, WordPieceConfig
from token2wave.models import WaveConfig
from token2wave.training.recipe import Recipe

REQUIRED: dict[type[Configuration], dict[str, Any]] = {
    WaveConfig: {"n_rows": 9, "n_classes": 3},
    TransformerConfig: {"n_rows": 9, "n_classes": 3},
}
NAN, INFINITE = float("nan"), float("inf")
SHARE = ([0.0, 0.5, 0.999], [-0.1, 1.0, 2.0, NAN, INFINITE])
RATE = ([1e-9, 0.5, 7.0], [0.0, -1e-3, NAN, INFINITE])
RATE_OR_NONE = ([0.0, *RATE[0]], RATE[1][1:])
CHOICE_WRONG = ["", "none ", "NONE", "unheard-of"]
Values = tuple[list[Any], list[Any]]

# Legal and illegal values of every setting.
VALUES: dict[type[Configuration], dict[str, Values]] = {
    WordConfig: {
        "ngrams": ([1, 5], [0, -1, 6]),
        "unspaced_ngrams": ([1, 5], [0, -1, 6]),
        "bits": ([10, 24], [9, 25]),
        "min_count": ([1, 10**6], [0, -1]),
        "cls": ([True, False], []),
    },
    PairConfig: {
        "ngrams": ([1, 5], [0, -1, 6]),
        "unspaced_ngrams": ([1, 5], [0, -1, 6]),
        "bits": ([10, 24], [9, 25]),
        "min_count": ([1, 10**6], [0, -1]),
        "cls": ([False], [True]),
        "symmetric": ([True, False], []),
    },
    WordPieceConfig: {
        "vocabulary_size": ([3, 30_522], [2, 0, -1]),
        "lowercase": ([True, False], []),
        "max_tokens": ([3, 512], [2, 0, -1]),
        "vocabulary": (["trained", "vocab.txt", "é\ud800"], []),
    },
    WaveConfig: {
        "n_rows": ([1, 9], [0, -1]),
        "n_classes": ([2, 9], [1, 0, -1]),
        "width": ([1, 768], [0, -1]),
        "layers": ([1, 3], [0, -1]),
        "operation": (["interference", "modulation"], CHOICE_WRONG),
        "variants": (["linear", "levels", "rows"], CHOICE_WRONG),
        "restore": (["linear", "real", "magnitude"], CHOICE_WRONG),
        "readout": (["cls", "mean", "text"], CHOICE_WRONG),
        "positions": (["none", "sinusoidal"], CHOICE_WRONG),
        "residual": (["equation", "figure"], CHOICE_WRONG),
        "layer_norm": (["none", "real", "wave"], CHOICE_WRONG),
        "feed_forward": ([0], [-1, 1 << 17]),
        "activation": (["none"], CHOICE_WRONG),
        "norm_tokens": ([False], []),
        "dropout": SHARE,
        "context_width": ([0, 64], [-1]),
        "context_radius": ([1, 9], [0, -1]),
        "linear_svm": ([False], []),
        "n_oov": ([0], [-1, 1 << 30]),
        "window_words": ([0, 2, 64], [-2, 3, 1 << 17]),
        "multi_label": ([True, False], []),
        "embedding_scale": ([1e-6, 1.0], [0.0, -1.0, NAN]),
        "sentence_ends": ([(), (0,)], [(-1,)]),
    },
    TransformerConfig: {
        "n_rows": ([1, 9], [0, -1]),
        "n_classes": ([2, 9], [1, 0, -1]),
        "width": ([12, 768], [0, -1]),
        "layers": ([1, 3], [0, -1]),
        "heads": ([1, 12], [0, -1, 7]),
        "feed_forward": ([1, 3072], [0, -1]),
        "dropout": SHARE,
        "readout": (["cls", "mean"], [*CHOICE_WRONG, "text"]),
        "positions": (["none", "sinusoidal", "learned"], CHOICE_WRONG),
        "max_positions": ([1, 512], [0, -1]),
        "embedding_scale": ([1e-6, 1.0], [0.0, -1.0, NAN]),
    },
    Recipe: {
        "epochs": ([1, 100], [0, -1]),
        "batch_size": ([1, 4096], [0, -1]),
        "lr": RATE_OR_NONE,
        "weight_decay": SHARE,
        "embedding_optimizer": (["adam", "sgd"], CHOICE_WRONG),
        "embedding_lr": RATE_OR_NONE,
        "embedding_epsilon": RATE,
        "embedding_weighting": (["none", "idf"], CHOICE_WRONG),
        "idf_power": ([0.1, 1.0, 4.0], [0.0, -1.0, 4.1, NAN]),
        "warmup": ([0.0, 0.5, 1.0], [-0.1, 1.1, NAN]),
        "decay": (["linear", "cosine", "constant"], CHOICE_WRONG),
        "token_dropout": SHARE,
        "context_words": ([0, 8, 1 << 30], [-1, (1 << 30) + 1]),
        "label_smoothing": SHARE,
        "validation_fraction": ([0.01, 0.99], [0.0, 1.0, -0.1, NAN]),
        "validation": (["random", "grouped"], CHOICE_WRONG),
        "char_ngrams": ([True, False], []),
        "tune_linear_svm": ([True, False], []),
        "prior_scale": ([0.0, 30.0], [-1.0, float("nan")]),
        "refit_below": ([0, 5000], [-1]),
        "windows_from": ([0, 512], [-1]),
        "refit_linear_svm": ([True, False], []),
        "select_by": (["accuracy", "macro_f1", "micro_f1", "loss"], CHOICE_WRONG),
        "teacher_share": ([0.0, 0.8, 1.0], [-0.1, 1.1, NAN]),
        "teacher_temperature": ([0.1, 2.0, 100.0], [0.0, -1.0, 101.0, NAN]),
        "recombined_texts": ([0, 3, 1000], [-1, 1001]),
        "unlabelled_weight": ([0.0, 1.0, 100.0], [-0.1, 101.0, NAN]),
        "unlabelled_linear_svm_weight": ([0.0, 1.0, 100.0], [-0.1, 101.0, NAN]),
        "patience": ([0, 9], [-1]),
        "similar_lengths": ([True, False], []),
        "precision": (["auto", "float32", "bfloat16"], CHOICE_WRONG),
    },
}
WRONG_TYPES: dict[str, list[Any]] = {
    "int": [True, 1.0, "1", None, [1], {}],
    "float": [True, "0.1", None, [0.1], 1j],
    "str": [1, True, None, ["none"], b"none"],
    "bool": [0, 1, "true", None, []],
    "tuple[int, ...]": ["12", 1, None, {"1": 2}, {1, 2}],
}
FIELDS = [(cls, field) for cls in VALUES for field in dataclasses.fields(cls)]
IDS = [f"{cls.__name__}.{field.name}" for cls, field in FIELDS]


def refused(cls: type[Configuration], key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        cls.from_dict({**REQUIRED.get(cls, {}), key: value})
    assert caught.value.location is not None
    assert caught.value.location.rsplit(".", 1)[-1] == key
    assert key in str(caught.value)
    assert "expected" in str(caught.value)


def test_every_setting_is_tested() -> None:
    classes = Configuration.__subclasses__()
    for cls in classes:
        classes += cls.__subclasses__()  # the list grows while it is read
    ours = {cls for cls in classes if cls.__module__.startswith(("token2wave.", "paper."))}
    assert ours == set(VALUES)
    for cls, values in VALUES.items():
        assert list(values) == [field.name for field in dataclasses.fields(cls)]


@pytest.mark.parametrize(("cls", "field"), FIELDS, ids=IDS)
def test_legal_illegal_and_wrong_types(cls: type[Configuration], field: dataclasses.Field[Any]) -> None:
    legal, illegal = VALUES[cls][field.name]
    for value in legal:
        made = cls.from_dict({**REQUIRED.get(cls, {}), field.name: value})
        assert getattr(made, field.name) == value
        assert made.replace(**{field.name: value}) == made
    for value in illegal:
        refused(cls, field.name, value)
        with pytest.raises(ConfigError, match=field.name):
            cls(**{**REQUIRED.get(cls, {}), field.name: value})
        with pytest.raises(ConfigError, match=field.name):
            cls.from_dict(REQUIRED.get(cls, {})).replace(**{field.name: value})
    for value in WRONG_TYPES[str(field.type)]:
        refused(cls, field.name, value)


@pytest.mark.parametrize("cls", VALUES)
def test_round_trip(cls: type[Configuration]) -> None:
    legal = {key: st.sampled_from(values[0]) for key, values in VALUES[cls].items()}

    @settings(deadline=None, max_examples=20, print_blob=True)
    @given(st.fixed_dictionaries(legal))
    def check(values: dict[str, Any]) -> None:
        try:
            made = cls.from_dict(values)
        except ConfigError as error:  # each value is legal, but not all of them together
            assume(cls is not WaveConfig or error.location not in ("variants", "restore"))
            raise
        assert dataclasses.asdict(made) == values
        for data in (made.to_dict(), json.loads(json.dumps(made.to_dict()))):
            again = cls.from_dict(data)
            assert again == made
            assert hash(again) == hash(made)
            assert all(type(getattr(again, key)) is type(value) for key, value in values.items())

    check()


@pytest.mark.parametrize("cls", VALUES)
def test_unknown_keys_are_refused(cls: type[Configuration]) -> None:
    required = REQUIRED.get(cls, {})
    for key in ("learning_rat", "", "__class__", "to_dict"):
        with pytest.raises(
            ConfigError, match=rf"unknown setting '{key}' for {cls.__name__}; known are: \w+, "
        ):
            cls.from_dict({**required, key: 1})
        with pytest.raises(ConfigError, match="unknown setting"):
            cls.from_dict(required).replace(**{key: 1})


@pytest.mark.parametrize("cls", VALUES)
def test_defaults_and_frozenness(cls: type[Configuration]) -> None:
    required = REQUIRED.get(cls, {})
    made = cls.from_dict(required)
    assert made == cls(**required)
    name = dataclasses.fields(cls)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, name, 1)


def test_whole_numbers_stand_for_floats() -> None:
    made = Recipe.from_dict({"warmup": 1, "lr": 2})
    assert (type(made.warmup), type(made.lr)) == (float, float)


def test_blind_combinations_are_refused() -> None:
    base = WaveConfig(n_rows=9, n_classes=3)
    with pytest.raises(ConfigError, match=r"^variants: readout 'text' treats the text as one wave.*; choose"):
        base.replace(readout="text", variants="levels")
    blind = {"operation": "interference", "restore": "real"}
    with pytest.raises(ConfigError, match=r"^restore: the real part of interference.*; choose"):
        base.replace(**blind)
    assert base.replace(**blind, readout="mean").readout == "mean"
    assert base.replace(**blind, layers=2).layers == 2


# Bugs -----------------------------------------------------------------------------------------------


def test_a_whole_number_beyond_floats() -> None:
    refused(Recipe, "lr", 10**400)


def test_missing_required_settings() -> None:
    with pytest.raises(ConfigError, match="n_classes"):
        WaveConfig.from_dict({"n_rows": 3})


@pytest.mark.parametrize("value", [["."], [1.5], [True], [None], [[1]], [-1], [10**30]])
def test_elements_of_sentence_ends(value: list[Any]) -> None:
    refused(WaveConfig, "sentence_ends", value)


def test_infinite_embedding_scale() -> None:
    refused(WaveConfig, "embedding_scale", INFINITE)
