"""The command ``doctor``: what this installation has, and what is wrong with it."""

from __future__ import annotations

import locale
import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from token2wave.cli.arguments import Json, print_json
from token2wave.core import load_core, n_threads
from token2wave.errors import Token2WaveError
from token2wave.versions import __version__, versions

_REQUIREMENT = re.compile(r"""([\w.-]+)(?:\[([\w,.-]+)\])?.*extra == ["']([\w.-]+)["']""")


def doctor(
    model: Annotated[Path | None, typer.Argument(metavar="[MODEL]", help="Model file to check, too.")] = None,
    as_json: Json = False,
) -> None:
    """Show versions, the native core, extras and folders. The exit status is 1 if something is broken."""
    from token2wave.distillation.cache import cache_folder
    from token2wave.training.result import machine

    core, problems = load_core(), []
    forbidden = os.environ.get("TOKEN2WAVE_NATIVE") == "0"
    data_folder = os.environ.get("TOKEN2WAVE_DATA")
    if data_folder and not Path(data_folder).is_dir():
        problems.append(f"TOKEN2WAVE_DATA: there is no folder {data_folder}")
    checked = None
    if model is not None:
        from token2wave.classifier import load

        try:
            checked = {"path": str(model), "computes_with": load(model).description()["computes_with"]}
        except Token2WaveError as error:
            problems.append(str(error))
    document = {
        "versions": {name: version for name, version in versions().items() if version != "unknown"}
        | {"token2wave": __version__},
        "core": "used" if core else "switched off by TOKEN2WAVE_NATIVE=0" if forbidden else "not built",
        "machine": machine(n_threads(), "cpu"),
        "avx2": _has_avx2(),
        "extras": _extras(),
        "data_folder": data_folder,
        "cache_folder": str(cache_folder()),
        "encoding": {"output": sys.stdout.encoding, "locale": locale.getpreferredencoding(False)},
        "model": checked,
        "problems": problems,
    }
    if as_json:
        print_json(document)
    else:
        _print(document)
    if problems:
        raise typer.Exit(1)


def _print(document: dict[str, Any]) -> None:
    core, processor = document["core"], document["machine"]["processor"]
    instructions = {True: ", AVX2", False: ", no AVX2", None: ""}[document["avx2"]]
    rows = [
        ("versions", ", ".join(f"{name} {version}" for name, version in document["versions"].items())),
        ("native core", core if core == "used" else f"{core}: numpy predicts, and torch trains, more slowly"),
        ("processor", f"{processor}{instructions}, {document['machine']['threads']} threads used"),
        ("data folder", document["data_folder"] or "none (TOKEN2WAVE_DATA)"),
        ("cache folder", document["cache_folder"]),
        ("encoding", f"{document['encoding']['output']}, locale {document['encoding']['locale']}"),
    ]
    for name, missing in document["extras"].items():
        state = f"needs {', '.join(missing)}: pip install 'token2wave[{name}]'"
        rows.append((f"[{name}]", state if missing else "there"))
    if document["model"] is not None:
        rows.append(("model", "{path} loads, and computes with {computes_with}".format(**document["model"])))
    for name, value in rows:
        print(f"{name:14}{value}")
    for problem in document["problems"]:
        print(f"problem: {problem}")


def _extras() -> dict[str, list[str]]:
    """List the packages that each extra for users lacks, as the installed metadata name them."""
    try:
        requirements = metadata.requires("token2wave") or []
    except metadata.PackageNotFoundError:  # run from a folder
        return {}
    packages: dict[str, list[str]] = {}
    nested: dict[str, list[str]] = {}
    for match in filter(None, map(_REQUIREMENT.match, requirements)):
        name, names, extra = match.groups()
        packages.setdefault(extra, [])
        if name == "token2wave":
            nested[extra] = names.split(",")
        elif "sys_platform" not in match[0] or sys.platform != "win32":
            packages[extra].append(name)

    def missing(extra: str) -> list[str]:
        inner = [name for each in nested.get(extra, ()) for name in missing(each)]
        return [*inner, *filter(_is_missing, packages.get(extra, ()))]

    return {extra: missing(extra) for extra in nested.get("all", packages)}


def _is_missing(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return True
    return False


def _has_avx2() -> bool | None:
    """Whether the processor has AVX2, for which the core has faster code; None if the system does not say."""
    try:
        return " avx2 " in Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return None
