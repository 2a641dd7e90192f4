"""Options are declared once; Python, the command line and the estimator take the same ones."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import pydoc
import subprocess
import sys

import numpy as np
import pytest
import typer

import token2wave
from token2wave import DataOptions, TrainOptions
from token2wave.cli import model_commands, training_commands
from token2wave.config import describe_options, option_fields
from token2wave.errors import ConfigError
from token2wave.integrations.sklearn import ESTIMATOR_OPTIONS, WaveClassifier
from token2wave.options import DIALECT_OPTIONS
from tools.write_stubs import STUB, render_stub

CLASSES = (TrainOptions, DataOptions)
FIELDS = {field.name: field for cls in CLASSES for field in option_fields(cls)}
EVALUATE = {"text_column", "label_column", "label_separator", "normalise_labels", *DIALECT_OPTIONS}
EVALUATE |= {"skip_bad_rows", "bad_rows"}
UPDATE = {"class_weights", "epochs", "seed", "out", "overwrite"}


def options_of(command: typer.models.CommandFunctionType) -> dict[str, inspect.Parameter]:
    return {name: p for name, p in inspect.signature(command).parameters.items() if name in FIELDS}


@pytest.mark.parametrize("cls", CLASSES)
def test_every_option_has_a_description(cls: type) -> None:
    descriptions = describe_options(cls)
    assert list(descriptions) == [field.name for field in dataclasses.fields(cls)]
    assert all(text.endswith(".") for text in descriptions.values())


def test_each_way_in_has_the_same_options_and_defaults() -> None:
    for function, expected in (
        (token2wave.train, FIELDS.keys()),
        (token2wave.update, EVALUATE | {"weight_column"}),
        (token2wave.evaluate, EVALUATE | {"overwrite"}),
        (training_commands.train, FIELDS.keys()),
        (training_commands.update, EVALUATE | {"weight_column"} | UPDATE),
        (model_commands.evaluate, EVALUATE | {"overwrite"}),
    ):
        own = UPDATE if "update" in function.__name__ else set()
        options = options_of(function)
        assert options.keys() - own == expected - own, function
        assert all(options[name].default == FIELDS[name].default for name in options.keys() - own)
    parameters = inspect.signature(WaveClassifier.__init__).parameters
    assert ESTIMATOR_OPTIONS.items() <= {name: p.default for name, p in parameters.items()}.items()
    assert {name: FIELDS[name].default for name in ESTIMATOR_OPTIONS} == ESTIMATOR_OPTIONS


def test_help_shows_the_description() -> None:
    option = inspect.signature(training_commands.train).parameters["max_size"].annotation.__metadata__[0]
    assert option.help == "Largest size of the model file in bytes, or e.g. 1MB."
    assert "    max_size: largest size of the model file in bytes" in (token2wave.train.__doc__ or "")
    assert "multi_label:" not in (token2wave.evaluate.__doc__ or "")


def test_figures_need_a_report() -> None:
    with pytest.raises(ConfigError, match=r"figures: figures are part of a report.*--report"):
        token2wave.train("data.csv", figures=True)


def test_unknown_options_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(TypeError, match=r"^train\(\) has no option 'epoch'; did you mean 'epochs'\?$"):
        token2wave.train("data.csv", epoch=3)
    with pytest.raises(TypeError, match=r"^train\(\) has no option 'zzz'; see help\(train\)$"):
        token2wave.train("data.csv", zzz=3)
    with pytest.raises(TypeError, match=r"has no option 'truth'; see help"):  # 'test' is another thing
        token2wave.train("data.csv", truth="label")
    with pytest.raises(ConfigError, match="target: expected one of label, score, ordinal, found 'stars'"):
        token2wave.train("data.csv", target="stars")  # a column is named by label_column
    with pytest.raises(TypeError, match="WaveClassifier"):
        WaveClassifier(epoch=3)


@pytest.mark.parametrize("name", ["weight_column", "multi_label"])
def test_what_a_function_decides_itself_cannot_be_given(name: str) -> None:
    """Rather than be ignored."""
    with pytest.raises(TypeError, match=f"has no option '{name}'"):
        token2wave.evaluate(None, "data.csv", **{name: "a"})  # type: ignore[arg-type]
    if name == "multi_label":
        with pytest.raises(TypeError, match="has no option 'multi_label'"):
            token2wave.update(None, "data.csv", multi_label=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "location"),
    [
        ({"max_rejected": 1.5}, "max_rejected"),
        ({"max_rejected": -0.1}, "max_rejected"),
        ({"max_rejected": float("nan")}, "max_rejected"),
        ({"max_size": "much"}, "max_size"),
        ({"memory": "much"}, "memory"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"lr": 0}, "lr"),
        ({"device": "gpu"}, "device"),
        ({"resume": True}, "resume"),
        ({"checkpoint": "a", "candidates": 2}, "checkpoint"),
        ({"settings": {"network.multi_label": True}}, "network.multi_label"),
        ({"stream": True, "baseline": True}, "--baseline"),
        ({"stream": True, "cv": 5}, "--cv"),
        ({"cv": 1}, "cv"),
        ({"cv": 101}, "cv"),
        ({"cv": 5, "teacher": "all-MiniLM-L6-v2"}, "cv"),
        ({"cv": 5, "time_budget": "1min"}, "cv"),
        ({"stream": True, "unlabelled": np.array(["a", "b"])}, "--unlabelled"),
    ],
)
def test_illegal_values_are_refused(options: dict[str, object], location: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        TrainOptions(**options)  # type: ignore[arg-type]
    assert refusal.value.location == location


def test_numbers_of_numpy_are_seeds() -> None:
    assert type(TrainOptions(seed=np.int64(3)).seed) is int  # type: ignore[arg-type]


def test_docstrings_may_be_left_out() -> None:
    code = "import token2wave.pipeline, token2wave.cli.main; print(token2wave.DataOptions().text_column)"
    done = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "text\n"


def test_editors_see_every_option() -> None:
    assert STUB.read_text(encoding="utf-8") == render_stub(), "run python tools/write_stubs.py"
    stub = ast.parse(render_stub())
    (train,) = [node for node in stub.body if isinstance(node, ast.FunctionDef) and node.name == "train"]
    assert {argument.arg for argument in train.args.kwonlyargs} >= {*FIELDS, "text", "label", "callbacks"}


@pytest.mark.parametrize("name", ["train", "evaluate", "update", "compress", "score"])
def test_help_fits_two_screens(name: str) -> None:
    text = pydoc.render_doc(getattr(token2wave, name), renderer=pydoc.plaintext)
    assert sum(max(1, math.ceil(len(line) / 80)) for line in text.splitlines()) <= 80
    assert "text_column or text: the column of the texts" in text
    assert all(option in text for option in options_of(getattr(token2wave, name)))
