"""No command writes over its inputs, or over files of another kind, whatever the names and links."""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from cli_helpers import CSV, TINY

from token2wave.cli.main import app

COMMANDS = {
    command.callback.__name__.replace("_", "-"): command.callback for command in app.registered_commands
}


class Input(NamedTuple):
    """A way to name an input: the option's value, a file that is read then, and further options."""

    option: str
    value: str
    file: str
    more: tuple[str, ...] = ()


class Output(NamedTuple):
    """An output: the option's value for a path, and the file below it that the command writes."""

    option: str
    value: str = "{}"
    below: str = ""
    more: tuple[str, ...] = ()
    message: str = "input"


MODEL = Input("model", "model", "model")
CONFIG = Input("config", "run.toml", "run.toml")
INPUTS = {
    "audit": (
        Input("data", "data.csv", "data.csv"),
        Input("data", "set", "set/train.csv"),
        Input("test", "test.csv", "test.csv"),
        Input("apply", "decisions.csv", "decisions.csv"),
        CONFIG,
    ),
    "train": (
        Input("data", "data.csv", "data.csv"),
        Input("data", "set", "set/train.csv"),
        Input("data", "named", "home/named/train.csv"),
        Input("data", "crawl", "crawl/deep/part.csv", ("--stream",)),
        Input("data", "crawl/**/*.csv", "crawl/deep/part.csv", ("--stream",)),
        Input("test", "test.csv", "test.csv"),
        Input("test", "set", "set/test.csv"),
        Input("validation", "test.csv", "test.csv"),
        Input("teacher", "teacher.jsonl", "teacher.jsonl"),
        Input("teacher", "encoder", "encoder/config.json"),
        Input("unlabelled", "texts.txt", "texts.txt", ("--teacher", "teacher.jsonl")),
        Input("init_from", "encoder", "encoder/model.safetensors"),
        Input("vocabulary", "vocab.txt", "vocab.txt"),
        Input("label_descriptions", "labels.json", "labels.json"),
        CONFIG,
    ),
    "update": (
        MODEL,
        CONFIG,
        Input("data", "data.csv", "data.csv"),
        Input("data", "set", "set/train.csv"),
        Input("only_if_better", "test.csv", "test.csv"),
    ),
    "evaluate": (MODEL, CONFIG, Input("data", "data.csv", "data.csv")),
    "compare": (
        Input("a", "model", "model"),
        Input("b", "model2", "model2"),
        CONFIG,
        Input("data", "data.csv", "data.csv"),
    ),
    "predict": (MODEL, CONFIG, Input("file", "texts.txt", "texts.txt")),
    "compress": (
        MODEL,
        CONFIG,
        Input("data", "data.csv", "data.csv"),
        Input("data", "set", "set/train.csv"),
        Input("test", "test.csv", "test.csv"),
    ),
    "info": (
        MODEL,
        CONFIG,
    ),
    "encode": (MODEL, CONFIG, Input("file", "data.csv", "data.csv")),
    "explain": (
        MODEL,
        CONFIG,
        Input("file", "texts.txt", "texts.txt"),
        Input("nearest", "data.csv", "data.csv"),
    ),
    "score": (
        MODEL,
        CONFIG,
        Input("inputs", "data.csv", "data.csv"),
        Input("inputs", "crawl", "crawl/deep/part.csv"),
        Input("inputs", "crawl/**/*.csv", "crawl/deep/part.csv"),
    ),
    "drift": (
        MODEL,
        CONFIG,
        Input("data", "data.csv", "data.csv"),
        Input("data", "crawl", "crawl/deep/part.csv"),
        Input("reference", "test.csv", "test.csv"),
    ),
    "export": (MODEL, CONFIG, Input("examples", "texts.txt", "texts.txt", ("--to", "html"))),
    "doctor": (MODEL, CONFIG),
    "select": (
        MODEL,
        CONFIG,
        Input("pool", "data.csv", "data.csv"),
        Input("pool", "crawl", "crawl/deep/part.csv"),
        Input("labelled", "test.csv", "test.csv"),
        Input("previous", "model", "model"),
    ),
    "label-plan": (
        Input("data", "data.csv", "data.csv"),
        Input("labels", "model", "model"),
        Input("examples", "test.csv", "test.csv"),
        Input("answers", "test.csv", "test.csv"),
        Input("labelled", "test.csv", "test.csv", ("--answers", "data.csv")),
        CONFIG,
    ),
    "serve": (
        Input("models", "model", "model"),
        Input("token_file", "token.txt", "token.txt"),
        CONFIG,
    ),
}
OUTPUTS = {
    "audit": (
        *(Output("out", below=name) for name in ("audit.html", "audit.json", "suspicious.csv")),
        Output("bad_rows"),
    ),
    "train": (
        Output("out"),
        Output("bad_rows"),
        Output("checkpoint"),
        Output("checkpoint", more=("--resume",)),
        *(Output("report", below=name) for name in ("report.json", "report.html")),
        Output("report", below="learning.svg", more=("--figures",)),
        Output("tracker", "tensorboard:{}", message="cannot be made"),
        Output("tracker", "mlflow:{}", message="cannot be made"),
        Output("tracker", "mlflow:{}", "mlflow.db", message="mlflow.db"),
    ),
    "update": (Output("out"), Output("bad_rows")),
    "evaluate": (Output("bad_rows"), Output("errors")),
    "compare": (Output("out"), Output("bad_rows")),
    "predict": (Output("out"),),
    "compress": (Output("out"),),
    "select": (Output("out"),),
    "label-plan": (Output("out"), Output("prompts")),
    "encode": (Output("output"),),
    "explain": (Output("html"),),
    "score": tuple(Output("output", below=f"{name}/file") for name in ("_job/staging", "parts", "rejected")),
    "serve": (Output("uds", message="something else than a socket"),),
    "export": (
        Output("out", more=("--to", "html")),
        Output("out", more=("--to", "onnx")),
        Output("out", below="README.md", more=("--to", "huggingface")),
    ),
}
NO_FILES = {
    *(
        "preset",
        "operation",
        "target",
        "device",
        "group_column",
        "class_weights",
        "settings",
        "time_budget",
        "max_size",
        "memory",
    ),
    *(
        "text_column",
        "label_column",
        "weight_column",
        "label_separator",
        "quoting",
        "delimiter",
        "encoding",
        "parts",
        "split",
    ),
    *("by", "text", "storage", "unit", "engine", "columns", "keep", "format", "prefix", "part_size", "to"),
    *(
        "id_column",
        "host",
        "cors_origin",
        "allow_host",
        "root_path",
        "forwarded_allow_ips",
        "strategy",
        "instructions",
    ),
}
"""Options with values that are texts, but name no file."""
NEVER_REPLACE = ("score", "evaluate", "serve")
"""Commands without ``--overwrite``."""
REQUIRED = {
    "audit": {"data": "data.csv", "out": "new"},
    "train": {"data": "data.csv", "out": "new"},
    "update": {"model": "model", "data": "data.csv", "out": "new"},
    "evaluate": {"model": "model", "data": "data.csv"},
    "compare": {"a": "model", "b": "model2", "data": "data.csv", "out": "new.csv"},
    "predict": {"model": "model", "file": "texts.txt", "out": "new.csv"},
    "compress": {"model": "model", "data": "named", "out": "new"},
    "encode": {"model": "model", "file": "data.csv", "output": "new.npy"},
    "explain": {"model": "model", "file": "texts.txt", "html": "new"},
    "score": {"model": "model", "inputs": "data.csv", "output": "new"},
    "export": {"model": "model", "out": "new"},
    "select": {"model": "model", "pool": "data.csv", "out": "new.csv"},
    "label-plan": {"data": "data.csv", "labels": "good,bad", "out": "new.csv"},
    "serve": {"models": "model", "uds": "new"},
}


def parameters(command: str) -> Iterator[tuple[str, Any, bool]]:
    """Names, annotations and whether they are positional, of all parameters that may name a file."""
    for name, parameter in inspect.signature(COMMANDS[command], eval_str=True).parameters.items():
        if "str" in str(parameter.annotation.__origin__) or "Path" in str(parameter.annotation.__origin__):
            yield name, parameter, isinstance(parameter.annotation.__metadata__[0], typer.models.ArgumentInfo)


def words(command: str, values: dict[str, str]) -> list[str]:
    """The command line with values of options by name."""
    arguments = [values[name] for name, _, positional in parameters(command) if positional and name in values]
    options = [name for name, _, positional in parameters(command) if not positional and name in values]
    return [command, *arguments, *(f"--{name.replace('_', '-')}={values[name]}" for name in options)]


def test_every_option_that_names_a_file_is_in_the_tables() -> None:
    """A new command or option must say here whether it reads or writes a file."""
    for command in COMMANDS:
        names = {name for name, *_ in parameters(command)} - NO_FILES
        listed = {entry.option for entry in (*INPUTS[command], *OUTPUTS.get(command, ()))}
        assert names == listed, command
        writes = "overwrite" in inspect.signature(COMMANDS[command]).parameters
        assert writes or command in NEVER_REPLACE or command not in OUTPUTS, command


@pytest.fixture
def inputs(workplace: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file for each input."""
    for name in (
        "data.csv",
        "test.csv",
        "decisions.csv",
        "set/train.csv",
        "set/test.csv",
        "crawl/deep/part.csv",
    ):
        (workplace / name).parent.mkdir(parents=True, exist_ok=True)
        (workplace / name).write_text(CSV)
    for name in (
        "teacher.jsonl",
        "texts.txt",
        "vocab.txt",
        "encoder/config.json",
        "encoder/model.safetensors",
    ):
        (workplace / name).parent.mkdir(parents=True, exist_ok=True)
        (workplace / name).write_text("a file\n")
    (workplace / "labels.json").write_text('{"good": "fine", "bad": "poor"}')
    (workplace / "token.txt").write_text("0123456789abcdef\n")
    (workplace / "run.toml").write_text("quiet = true\n")
    shutil.copytree(workplace / "set", workplace / "home" / "named")
    shutil.copyfile(model, workplace / "model")
    shutil.copyfile(model, workplace / "model2")
    (workplace / "link").symlink_to(workplace, target_is_directory=True)
    monkeypatch.setenv("TOKEN2WAVE_DATA", str(workplace / "home"))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def symbolic_link(path: Path) -> str:
    Path("place").symlink_to(path)
    return "place"


def hard_link(path: Path) -> str:
    os.link(path, "place")
    return "place"


SPELLINGS: dict[str, Callable[[Path], str]] = {
    "same": os.path.relpath,
    "absolute": os.fspath,
    "relative": lambda path: f"set/../{os.path.relpath(path)}",
    "through a folder": lambda path: f"link/{os.path.relpath(path)}",
    "symbolic link": symbolic_link,
    "hard link": hard_link,
}
CASES = [
    pytest.param(command, output, source, id=f"{command}-{output.option}{output.below}-{source.value}")
    for command, outputs in OUTPUTS.items()
    for output in outputs
    for source in INPUTS[command]
    if "--to" not in source.more or source.more == output.more
    if "--stream" not in source.more or output.option != "bad_rows"
    if source.option not in ("answers", "labelled") or output.option != "prompts"  # never in one call
]


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(("command", "output", "source"), CASES)
def test_no_command_writes_over_an_input(run_cli, workplace, command, output, source, spelling):
    values, file = {**REQUIRED[command], source.option: source.value}, workplace / source.file
    if output.below:  # the input, or a link to it, lies in the folder that is written
        place = workplace / "folder" / output.below
        place.parent.mkdir(parents=True)
        if "link" in spelling or source.value != source.file:
            os.rename(SPELLINGS["hard link" if spelling == "hard link" else "symbolic link"](file), place)
        else:
            file.rename(place)
            values[source.option] = SPELLINGS[spelling](place)
        file = workplace / "folder"
        values[output.option] = output.value.format(
            "folder" if "link" in spelling else SPELLINGS[spelling](file)
        )
    else:
        values[output.option] = output.value.format(SPELLINGS[spelling](file))
    before = contents(workplace)
    more = dict.fromkeys((*source.more, *output.more))
    if not (
        command in NEVER_REPLACE
        or (source.file == "model" and output.option == "out" and command != "export")
    ):
        more["--overwrite"] = None  # with which a model may be updated and compressed in its place
    outcome = run_cli(*words(command, values), *more)
    assert outcome.status == 2, outcome
    assert output.message in outcome.err
    assert contents(workplace) == before


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize(
    ("command", "output"),
    [
        pytest.param(command, output, id=f"{command}-{output.option}{output.below}-{'-'.join(output.more)}")
        for command, outputs in OUTPUTS.items()
        for output in outputs
        if output.value != "tensorboard:{}" and output.below != "_job/staging/file"
    ],
)
def test_files_of_another_kind_are_not_replaced(run_cli, workplace, command, output):
    place = workplace / "place" / output.below
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("precious")
    values = {**REQUIRED[command], output.option: output.value.format("place")}
    before = contents(workplace)
    outcome = run_cli(*words(command, values), *output.more)
    assert outcome.status == 2, outcome
    assert contents(workplace) == before
    if output.option not in ("tracker", "output", "uds"):
        assert "--overwrite" in outcome.err


RUNS = (
    ("train", "data.csv", "--out", "new", "--report", "report", "--figures", *TINY),
    ("update", "model", "data.csv", "--out", "updated", "--epochs", "1"),
    ("compress", "model", "--data", "data.csv", "--out", "compressed", "--no-retrain"),
    ("explain", "model", "--file", "texts.txt", "--html", "explained.html"),
    ("export", "model", "--to", "html", "--out", "page.html", "--examples", "texts.txt"),
    ("export", "model", "--to", "onnx", "--out", "model.onnx"),
    ("export", "model", "--to", "huggingface", "--out", "exported"),
    ("score", "model", "data.csv", "--output", "scored", "--workers", "1", "--columns", "text"),
    ("select", "model", "data.csv", "--out", "next.csv"),
)


@pytest.mark.usefixtures("inputs")
def test_outputs_are_as_private_as_inputs_and_replace_their_own_kind(run_cli, workplace):
    before = contents(workplace)
    umask = os.umask(0o022)
    try:
        for arguments in RUNS:
            assert run_cli(*arguments).status == 0, arguments
        public = {path for path in workplace.rglob("*") if path.is_file()} - before.keys()
        assert all(path.stat().st_mode & 0o044 == 0o044 for path in public)
        for arguments in RUNS:
            if arguments[0] != "score":
                (
                    workplace / arguments[arguments.index("--out" if "--out" in arguments else "--html") + 1]
                ).chmod(0o750 if "exported" in arguments else 0o640)
            assert run_cli(*arguments).status == 0, arguments  # the same kind is replaced
        assert {(workplace / name).stat().st_mode & 0o777 for name in ("new", "page.html")} == {0o640}
        for path in public:
            if path.exists():
                path.unlink()
        for name in ("report", "exported", "scored"):
            shutil.rmtree(workplace / name)
        for name in ("model", "data.csv"):
            (workplace / name).chmod(0o600)
        for arguments in RUNS:
            assert run_cli(*arguments).status == 0, arguments
    finally:
        os.umask(umask)
    private = {path for path in workplace.rglob("*") if path not in before and path.is_file()}
    assert len(private) > 20
    folders = [workplace / name for name in ("report", "exported", "scored")]
    folders += [path for path in (workplace / "scored").rglob("*") if path.is_dir()]
    assert [path for path in (*private, *folders) if path.stat().st_mode & 0o077] == []
    assert contents(workplace).items() >= before.items()


@pytest.mark.usefixtures("inputs")
def test_two_outputs_of_a_call_differ(run_cli, workplace):
    (workplace / "other").symlink_to(workplace / "new")
    for extra in (["--checkpoint", "./new"], ["--checkpoint", "other"]):
        assert "expected a file for each output" in run_cli("train", "data.csv", "--out", "new", *extra).error
    command = ["train", "data.csv", "--out", "report/report.json", "--report", "report"]
    (workplace / "report").mkdir()
    assert "expected a file for each output" in run_cli(*command).error


@pytest.mark.usefixtures("inputs")
def test_an_input_with_the_name_of_a_temporary_file_stays(run_cli, workplace):
    (workplace / "model").rename(workplace / ".new.1.part")
    outcome = run_cli("compress", ".new.1.part", "--data", "data.csv", "--out", "new")
    assert "the name of a temporary file" in outcome.error
    (workplace / ".new.1.part").rename(workplace / "model")
