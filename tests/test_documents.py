"""The code blocks, links and figures of the documents are right."""

import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from functools import partial
from types import ModuleType

import pytest
import typer.main
from document_blocks import ROOT, RUN, SHOWN, Session, blocks
from document_files import write_document_files, write_small_corpus

import token2wave
from token2wave.cli.main import app
from token2wave.features import WordConfig, WordPieceConfig

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAPER = ROOT / "paper"
MAX_NOT_RUN = 9
"""How many code blocks may say that they do not run."""


@pytest.fixture(scope="module")
def document_files(tmp_path_factory):
    """The files that documents name, of which each works on a copy, and a small corpus."""
    folder = tmp_path_factory.mktemp("documents")
    write_document_files(folder / "files")
    write_small_corpus(folder / "corpus")
    return folder


@pytest.mark.parametrize("path", list(filter(blocks, DOCUMENTS)), ids=lambda path: path.name)
def test_code_blocks_run(path, document_files, tmp_path, monkeypatch, capsys):
    """They run in order, as a reader would type them, in a folder with the files that they name."""
    shutil.copytree(document_files / "files", tmp_path, dirs_exist_ok=True)
    if path.name != "scikit-learn.md":  # whose folds need enough rows of every class
        monkeypatch.setattr("token2wave.data.datasets._BUILT_IN", document_files / "corpus")
    # Folds that choose settings, for six fits in place of one; no page is about them.
    monkeypatch.setattr("token2wave.training.run.FEW_TO_CROSS_VALIDATE", 1_000)
    monkeypatch.setattr(token2wave, "train", partial(token2wave.train, epochs=2))  # as on the command line
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)
    monkeypatch.setenv("TOKEN2WAVE_CACHE", str(tmp_path / "cache"))
    if "small-encoder" in path.read_text():
        for folder in ("distillation", "training"):
            monkeypatch.syspath_prepend(ROOT / "tests" / folder)
        from teacher_data import write_encoder

        write_encoder(tmp_path / "small-encoder")
        capsys.readouterr()
    session = Session(monkeypatch, capsys)
    for block in blocks(path):
        if block.language in RUN and block.skip_reason is None:
            session.run(block)


BROKEN_BLOCKS = [
    ("console", "$ token2wave info nothing.safetensors"),
    ("console", "$ token2wave predict --no-such-option"),
    ("console", "$ echo text | false"),
    ("console", "$ pip install 'token2wave[nothing]'"),
    ("console", "$ pip install nothing"),
    ("console", "$ make nothing"),
    ("console", "no command"),
    ("python", "silent = 1"),
    ("python", "print(1 / 0)"),
    ("python", "import warnings; warnings.warn('old'); print()"),
]


@pytest.mark.parametrize(("language", "text"), BROKEN_BLOCKS)
def test_a_broken_block_fails(language, text, tmp_path, monkeypatch, capsys):
    path = tmp_path / "page.md"
    path.write_text(f"# Page\n\n```{language}\n{text}\n```\n")
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(path)
    with pytest.raises((AssertionError, ZeroDivisionError, UserWarning)):
        Session(monkeypatch, capsys).run(block)


def test_comments_before_blocks_change_how_they_run(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(
        "<!-- not run: it needs the hub -->\n```console\n$ a\n```\n\n"
        "<!-- run with: 5min -> 2s; x -> y -->\n```console\n$ a 5min x\n```\n\n```text\n$ b\n```\n"
    )
    assert [(block.text, block.skip_reason, block.line) for block in blocks(path)] == [
        ("$ a\n", "it needs the hub", 3),
        ("$ a 2s y\n", None, 8),
        ("$ b\n", None, 12),
    ]
    path.write_text("<!-- saved as: a.py -->\n```python\nx = 1\n```\n")
    assert [(block.text, block.skip_reason, block.file) for block in blocks(path)] == [
        ("x = 1\n", None, "a.py")
    ]
    path.write_text("<!-- run with: 5min -> 2s -->\n```console\n$ a\n```\n")
    with pytest.raises(AssertionError, match="'5min' is not in the block"):
        blocks(path)


def test_a_saved_block_is_a_file_for_the_blocks_that_follow(tmp_path, monkeypatch, capsys):
    path = tmp_path / "page.md"
    path.write_text(
        "<!-- saved as: saved_block.py -->\n```python\nname = __name__\n```\n\n"
        "```python\nimport saved_block\nprint(saved_block.name)\n```\n\n"
        "```console\n$ python saved_block.py && grep __name__ saved_block.py\n```\n"
    )
    monkeypatch.chdir(tmp_path)
    session = Session(monkeypatch, capsys)
    for block in blocks(path):
        session.run(block)
    assert sys.modules.pop("saved_block").name == "saved_block"


def test_every_block_runs_or_says_why_not():
    """Every block is run, is not code, or says why it is not run. Few say so."""
    not_run = []
    for path in DOCUMENTS:
        n_fences = len(re.findall(r"^\s*```", path.read_text(), re.MULTILINE))
        assert n_fences == 2 * len(blocks(path)), f"{path.name}: a block is not recognised"
        for block in blocks(path):
            assert block.language in (*RUN, *SHOWN), f"{path.name}, line {block.line}: {block.language!r}"
            if block.skip_reason is not None:
                assert len(block.skip_reason) > 5, f"{path.name}, line {block.line}: why is it not run?"
                not_run.append(f"{path.name}, line {block.line}: {block.skip_reason}")
    assert len(not_run) <= MAX_NOT_RUN, "\n".join(not_run)


@pytest.mark.parametrize("tool", ["render_results.py", "draw_mathematics.py"])
def test_rendered_figures_are_up_to_date(tool):
    check = subprocess.run([sys.executable, ROOT / "tools" / tool, "--check"], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/internals.md"])
def test_files_that_contributors_are_sent_to_exist(name):
    package = ROOT / "src" / "token2wave"
    paths = re.findall(r"`((?!build/)[a-z_]+/[\w/.-]*)`", (ROOT / name).read_text())
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists() and not (package / path).exists()] == []


def test_changelog_has_the_version():
    assert f"## {token2wave.__version__} " in (ROOT / "CHANGELOG.md").read_text()
    assert f'version = "{token2wave.__version__}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("path", [*DOCUMENTS, PAPER / "README.md", PAPER / "reproduction.md"], ids=str)
def test_links_have_targets(path):
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_public_names_can_be_imported():
    for module in pkgutil.iter_modules(token2wave.__path__):  # importing a module sets a name on the package
        if module.name != "__main__":
            importlib.import_module(f"token2wave.{module.name}")
    for name in token2wave.__all__:
        assert not isinstance(getattr(token2wave, name), ModuleType), name
        assert getattr(token2wave, name) is not None
    assert set(dir(token2wave)) == set(token2wave.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        token2wave.no_such_name  # noqa: B018


MAX_LINES = 160
LONG_PAGES = ("benchmarks.md", "experiments.md")
"""Logs of measurements, which may be longer."""


@pytest.mark.parametrize("path", [*DOCUMENTS, PAPER / "README.md"], ids=str)
def test_pages_are_short(path):
    n_lines = len(path.read_text().splitlines())
    assert path.name in LONG_PAGES or n_lines <= (150 if path.name == "README.md" else MAX_LINES)


SETTINGS = {
    "features": {field.name for config in (WordConfig, WordPieceConfig) for field in fields(config)},
    "network": {field.name for field in fields(token2wave.WaveConfig)},
    "recipe": {field.name for field in fields(token2wave.Recipe)},
}
_SETTING = re.compile(r"""(?:[`"]|--set )(features|network|recipe)\.([a-z_]+)(?=[`"=])""")
OTHER_NAMES = ("changes-0.2.md", "experiments.md", "format.md")
"""Pages with old names of settings, or with arrays named alike."""


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_settings_in_documents_exist(path):
    if path.name not in OTHER_NAMES:
        for group, key in _SETTING.findall(path.read_text()):
            assert key in SETTINGS[group], f"{path.name}: {group}.{key}"


def test_settings_page_is_complete():
    """Sizes that the data decides, and the vocabulary, are not set by hand."""
    page = (ROOT / "docs" / "settings.md").read_text()
    decided_by_data = {"n_rows", "n_classes", "sentence_ends", "multi_label", "vocabulary", "vocabulary_size"}
    for group, keys in SETTINGS.items():
        missing = [key for key in keys - decided_by_data if f"`{key}`" not in page and f"`{key}=" not in page]
        assert not missing, f"{group}: {missing}"


PROGRAM = typer.main.get_command(app)
OPTIONS = {"--help"} | {
    option
    for command in (PROGRAM, *PROGRAM.commands.values())
    for parameter in command.params
    for option in (*parameter.opts, *parameter.secondary_opts)
}
OTHER_PROGRAMS = (
    *(
        "benchmarks.md",
        "changes-0.2.md",
        "distributed.md",
        "examples.md",
        "reliability.md",
        "reproduction.md",
    ),
    "new-operation.md",
    "trackers.md",
)
"""Pages that name options of other programs or of version 0.1."""


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_options_in_documents_exist(path):
    if path.name not in OTHER_PROGRAMS:
        for code in re.findall(r"`([^`\n]+)`", path.read_text()):
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]+", code):
                assert option in OPTIONS, f"{path.name}: {option}"
