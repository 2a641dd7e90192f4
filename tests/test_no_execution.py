"""Nothing in the package runs what a file, a request or a setting says: its source is searched for that."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import token2wave

PACKAGE = Path(token2wave.__file__).parent
MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "code", "imp"}
BUILT_IN = {"eval", "exec", "compile", "__import__"}
FUNCTIONS = {
    *("os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv", "pty.spawn", "commands.getoutput"),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "tempfile.mktemp", "shutil.unpack_archive"),
    *("ast.literal_eval", "typing.eval_type"),
}
ALLOWED = {("training/processes.py", "import of pickle")}  # through pipes between own processes alone
METHODS = {"extractall", "extract"}  # of archives: their names would be followed
ALLOWED_ARGUMENTS = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
REFUSED_ARGUMENTS = {
    ("shell", True),
    ("allow_pickle", True),
    ("weights_only", False),
    ("trust_remote_code", True),
}


def found_in(source: str) -> Iterator[str]:
    """What could run something, by line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            names = [module] if module else [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names += [f"{module}.{alias.name}" for alias in node.names]
            for name in names:
                if name.partition(".")[0] in MODULES or name in FUNCTIONS:
                    yield f"{node.lineno}: import of {name}"
        elif isinstance(node, ast.Name) and node.id in BUILT_IN:
            yield f"{node.lineno}: {node.id}"
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in FUNCTIONS:
            yield f"{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {one.arg: getattr(one.value, "value", None) for one in node.keywords}
            if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS and "zip" in name:
                yield f"{node.lineno}: {name}"
            if odd := REFUSED_ARGUMENTS & set(given.items()):
                yield f"{node.lineno}: {name} with {odd}"
            argument, value = ALLOWED_ARGUMENTS.get(name, (None, None))
            if argument is not None and given.get(argument) is not value:
                yield f"{node.lineno}: {name} without {argument}={value}"
            if name.startswith("subprocess.") and any(one.arg == "shell" for one in node.keywords):
                yield f"{node.lineno}: {name} with a shell"


def test_the_package() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 100
    found = {
        (file.relative_to(PACKAGE).as_posix(), one.partition(": ")[2])
        for file in files
        for one in found_in(file.read_text(encoding="utf-8"))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import yaml.loader",
        "def f():\n    import marshal",
        "eval(text)",
        "f = exec",
        "compile(text, 'a', 'eval')",
        "import os\nos.system(text)",
        "from os import system",
        "subprocess.run(text, shell=True)",
        "subprocess.run(text, shell=some)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)",
        "zipfile.ZipFile(path).extractall()",
        "from ast import literal_eval",
    ],
)
def test_what_is_looked_for(source: str) -> None:
    assert list(found_in(source))


@pytest.mark.parametrize(
    "source",
    [
        "import re\nre.compile(text)",
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=False)",
        "subprocess.run([program], check=True)",
        "model.eval()",
        "torch.compile(model)",
    ],
)
def test_what_is_not(source: str) -> None:
    assert not list(found_in(source))
