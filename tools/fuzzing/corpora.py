"""Read and write corpora: the inputs of a target in one zip archive, the same bytes for the same inputs."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

CORPORA = Path(__file__).resolve().parents[2] / "tests" / "fuzz" / "corpora"


def read_corpus(path: Path) -> dict[str, bytes]:
    """Read inputs by name from a zip archive, a folder or a single file."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    return {file.name: file.read_bytes() for file in files if not file.name.startswith("log-")}


def write_corpus(path: Path, inputs: Mapping[str, bytes]) -> None:
    """Write inputs to a zip archive, sorted by name and without times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in sorted(inputs.items()):
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, compresslevel=9)


def unpack_corpus(path: Path, folder: Path) -> None:
    """Write the inputs of an archive as files to a folder; nothing if there is no archive."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in read_corpus(path).items() if path.is_file() else ():
        (folder / name).write_bytes(content)
