"""Arguments that commands share, and options made from the fields of dataclasses."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
import typer.core

from token2wave.cli.config_file import expand_config
from token2wave.config import describe_options, first_sentence, option_fields
from token2wave.errors import ConfigError, DataError
from token2wave.options import TextOptions
from token2wave.reporting.terminal import print_note, set_verbosity, verbosity
from token2wave.storage.outputs import protected


def complete_data(incomplete: str) -> list[str]:
    """Complete the name of a data set; the shell completes files where this finds none."""
    from token2wave.data.datasets import available

    return [name for name in available() if name.startswith(incomplete)] if incomplete else []


def one_of(*values: str) -> Callable[[str], list[str]]:
    """Complete one of some values."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete


Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else there.")
]
Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="TOML file with options, e.g. epochs = 5; the command line wins."),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print no progress and no notes, only errors and what you asked for."),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Log every step on standard error; errors have a traceback.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files of another kind, too, but never an input.")
]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="Model file (.safetensors).")]
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        autocompletion=complete_data,
        help="File (.csv, .tsv, .jsonl, .xlsx, .ods, .parquet, fastText .txt), folder with train and test "
        "files, built-in corpus (debian-sections), name of a folder in $TOKEN2WAVE_DATA, or owner/name on "
        "the Hugging Face hub.",
    ),
]
OptionalData = Annotated[str | None, *get_args(Data)[1:]]
Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TEXT]...", help="Texts; by default the lines of standard input."),
]
TextFile = Annotated[Path | None, typer.Option(help="File with a text a line, or with columns.")]
_DASHED_TEXT = re.compile(r"-(\d|[^=\s]*\s)")  # no option begins with a digit or has a blank before its value
_DASH_MARK = "\0"
GROUPS = {
    "Data": (
        *(
            "text_column",
            "pair",
            "label_column",
            "weight_column",
            "group_column",
            "delimiter",
            "encoding",
            "header",
        ),
        *("quoting", "multi_label", "label_separator", "normalise_labels", "skip_bad_rows", "bad_rows"),
        *("test", "validation", "unlabelled", "label_descriptions", "split", "reference", "data"),
    ),
    "Training": (
        *(
            "target",
            "ordinal",
            "symmetric",
            "preset",
            "operation",
            "epochs",
            "batch_size",
            "lr",
            "seed",
            "device",
            "class_weights",
            "settings",
        ),
        *("vocabulary", "teacher", "init_from", "prior", "parts"),
    ),
    "Search and size": ("time_budget", "candidates", "max_size", "storage", "retrain"),
    "Evaluation": ("baseline", "cv", "by", "only_if_better"),
    "Wrong labels": ("drop_suspicious", "reweight", "relabel"),
    "Streams and interrupted runs": ("stream", "memory", "max_rejected", "checkpoint", "resume"),
    "Output": (
        "out",
        "apply",
        "max_rows",
        "output",
        "errors",
        "report",
        "figures",
        "html",
        "overwrite",
        "tracker",
        "profile",
        "as_json",
    ),
    "General": ("config", "quiet", "verbose", "help"),
}
"""The options of each group in the help."""
METAVARS = {
    "apply": "DECISIONS",
    "test": "DATA",
    "validation": "DATA",
    "class_weights": "WEIGHTS",
    "teacher": "NAME_OR_PATH",
    "unlabelled": "FILE",
    "label_descriptions": "FILE",
    "init_from": "NAME_OR_PATH",
    "settings": "KEY=VALUE",
    "time_budget": "TIME",
    "max_size": "SIZE",
    "memory": "SIZE",
    "checkpoint": "FILE",
}


class Command(typer.core.TyperCommand):
    """A command that reads ``--config``, and whose help has its options in groups."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Add the options of the configuration file."""
        ctx.default_map = {}
        return super().parse_args(ctx, expand_config(self.get_params(ctx), args, ctx.default_map))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the groups in the order of :data:`GROUPS`, other options first."""
        groups: dict[str, list[tuple[str, str]]] = {
            "Arguments": [],
            "Options": [],
            **{name: [] for name in GROUPS},
        }
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                is_argument = param.param_type_name == "argument"
                name = next((name for name, names in GROUPS.items() if param.name in names), "Options")
                groups["Arguments" if is_argument else name].append(record)
        for name, records in groups.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)


class TextCommand(Command):
    """A command whose arguments with a blank, or like -5, are texts, even if they begin with a dash."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Protect the texts from the parser; :func:`read_input` removes the mark."""
        end = args.index("--") if "--" in args else len(args)
        marked = [f"{_DASH_MARK}{arg}" if _DASHED_TEXT.match(arg) else arg for arg in args[:end]]
        return super().parse_args(ctx, marked + args[end:])


def print_json(document: Any) -> None:
    """Print one JSON document, in one line."""
    print(json.dumps(document, allow_nan=False))


def with_common_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``--config``, and ``--quiet`` and ``--verbose``, which the program has, too."""

    @wraps(command)
    def run(*, config: Path | None, quiet: bool, verbose: bool, **values: Any) -> None:
        set_verbosity(quiet or verbosity.is_quiet, verbose or verbosity.is_verbose)
        with protected(config):
            command(**values)

    own = inspect.signature(command, eval_str=True).parameters.values()
    common = {"config": (None, Config), "quiet": (False, Quiet), "verbose": (False, Verbose)}
    _set_parameters(run, [*own, *(_keyword(name, *default) for name, default in common.items())])
    return run


def _keyword(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _set_parameters(function: Callable[..., None], parameters: list[inspect.Parameter]) -> None:
    """Make typer see these parameters, all by name."""
    named = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    function.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in named}


def read_input(
    texts: list[str] | None, file: Path | None, options: Mapping[str, Any], pair: bool = False
) -> list[str]:
    """Return the texts of the command line, of a file, or of standard input.

    With ``pair`` they are pairs: two texts of the command line, two columns, or lines of two texts and a tab.

    Raises:
        ConfigError: there are both texts and a file, or an odd number of texts for pairs.
        DataError: the file or standard input cannot be read.
    """
    if texts and file is not None:
        problem = "expected texts or a file, found both"
        raise ConfigError(problem, location="--file", hint="leave one of them out")
    if texts:
        for text in texts:
            if Path(text).suffix and os.path.isfile(text):
                print_note(f"{text!r} is taken as a text; to read the file of that name, write --file {text}")
        texts = [text.removeprefix(_DASH_MARK) for text in texts]
        return _join_texts(texts) if pair else texts
    from token2wave.data import read_stream, read_texts

    if file is not None:
        return read_texts(file, TextOptions(**options).for_pairs(pair))
    if sys.stdin.isatty() and not verbosity.is_quiet:
        print("reading texts, one a line; end with Ctrl-D", file=sys.stderr)
    lines = read_stream(sys.stdin.buffer, "standard input", TextOptions(**options).encoding)
    return [_split_line(line, row) for row, line in enumerate(lines, 1)] if pair else lines


def _join_texts(texts: list[str]) -> list[str]:
    """Make pairs of texts, two by two.

    Raises:
        ConfigError: their number is odd.
    """
    from token2wave.features.pairs import join_pair

    if len(texts) % 2:
        problem = f"expected two texts for each pair, found {len(texts)}"
        raise ConfigError(problem, location="TEXT", hint='give both: predict model "a text" "another"')
    return [join_pair(*pair) for pair in zip(texts[::2], texts[1::2], strict=True)]


def _split_line(line: str, row: int) -> str:
    """Make a pair of a line with two texts and a tab between them.

    Raises:
        DataError: it has not one tab.
    """
    from token2wave.features.pairs import join_pair

    if line.count("\t") != 1:
        raise DataError(
            f"expected two texts and a tab between them, found {line.count(chr(9))} tabs",
            location=f"standard input, line {row}",
            hint="give one pair a line, or a file with --file",
        )
    return join_pair(*line.split("\t"))


def takes_options(
    *option_classes: type, leave_out: tuple[str, ...] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option for every field of some dataclasses.

    Name, type, default and help come from the dataclass. The command receives the values by name in
    ``options``, ready for the function that takes the dataclass's fields.

    Args:
        option_classes: dataclasses whose docstrings have an ``Attributes`` section.
        leave_out: fields that are not options of this command.
    """
    fields = [
        (cls, field) for cls in option_classes for field in option_fields(cls) if field.name not in leave_out
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**values: Any) -> None:
            options = {field.name: values.pop(field.name) for _, field in fields}
            if (
                options.get("skip_bad_rows")
                and options.get("bad_rows", "") is None
                and not options.get("stream")
                and values["data"] is not None
            ):
                options["bad_rows"] = f"{_stem(values['data'])}.bad-rows.csv"
            command(**values, options=_parse(options))

        signature = inspect.signature(command, eval_str=True)
        own = [parameter for name, parameter in signature.parameters.items() if name != "options"]
        parameters = [
            *(p for p in own if p.default is inspect.Parameter.empty),
            *(_parameter(cls, field) for cls, field in fields),
            *(p for p in own if p.default is not inspect.Parameter.empty),
        ]
        _set_parameters(run, parameters)
        return run

    return decorate


def _stem(data: str) -> str:
    """The name of a file or folder without suffixes, for files made of it."""
    from token2wave.data.file_segments import stem

    path = Path(data)
    return stem(path) or path.resolve().name


def _parameter(cls: type, field: dataclasses.Field[Any]) -> inspect.Parameter:
    """Turn a field into a parameter that typer understands."""
    hint, name = get_type_hints(cls)[field.name], field.name
    flag = f"--{name.replace('_', '-')}"
    help_text = _first_sentence(describe_options(cls)[name])
    option_type: Any = hint
    if hint == bool | None or field.default is True:
        flag = f"{flag}/--no-{name.replace('_', '-')}"
    elif name == "settings":
        option_type, flag, help_text = list[str] | None, "--set", f"{help_text} Repeatable."
    elif hint is not bool:
        types = get_args(hint) or (hint,)
        option_type = next((each for each in (int, float) if each in types and str not in types), str)
        if field.default is None:
            option_type = option_type | None
    option = typer.Option(
        flag,
        metavar=METAVARS.get(name),
        help=help_text,
        autocompletion=complete_data
        if name in ("test", "validation")
        else _complete_values(describe_options(cls)[name]),
    )
    annotation = Annotated[option_type, option]
    return _keyword(name, field.default, annotation)


def _complete_values(description: str) -> Callable[[str], list[str]] | None:
    """Complete the values that the first sentence lists: from its beginning, or behind a colon."""
    choices = re.search(r"(?:^|: )(``\w+``(?:(?:, | or )``\w+``)*)", description.partition(". ")[0])
    return one_of(*re.findall(r"\w+", choices[1].replace(" or ", " "))) if choices else None


def _first_sentence(description: str) -> str:
    """Return the first sentence without markup, with a capital letter unless it begins with a value."""
    plain = description.replace("`", "")
    sentence = first_sentence(plain)
    return sentence if description.startswith("`") else sentence[:1].upper() + sentence[1:]


def _parse(options: Mapping[str, Any]) -> dict[str, Any]:
    """Parse the weights of classes and the settings.

    Raises:
        ConfigError: a setting is not ``KEY=VALUE``.
    """
    from token2wave.training.presets import parse_setting, parse_value

    parsed = dict(options)
    if parsed.get("class_weights") is not None:
        parsed["class_weights"] = parse_value(parsed["class_weights"])
    if parsed.get("settings"):
        parsed["settings"] = dict(map(parse_setting, parsed["settings"]))
    return parsed
