"""The checks before a release find what they are there for; they run on copies, and build nothing."""

from __future__ import annotations

import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
release_check = pytest.importorskip("release_check", reason="the tools are not part of this tree")
build_wheels = pytest.importorskip("build_wheels")
ReleaseError = release_check.ReleaseError
PACKAGE = ["src/token2wave/__init__.py", "src/token2wave/py.typed", "src/token2wave/core/batch.c"]
IN_WHEEL = ["token2wave/__init__.py", "token2wave/py.typed"]
VERSIONED = ("pyproject.toml", "CHANGELOG.md", "src/token2wave/versions.py")


@pytest.mark.parametrize("broken", [None, *VERSIONED])
def test_one_version_everywhere(broken: str | None, tmp_path: Path) -> None:
    for name in VERSIONED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / name).read_text()
        (tmp_path / name).write_text(text.replace("0.2.0", "9.9.9", 1) if name == broken else text)
    if broken is None:
        assert release_check.check_version(tmp_path).startswith("0.2.0")
    else:
        with pytest.raises(ReleaseError, match=r"expected one version, found .*9\.9\.9"):
            release_check.check_version(tmp_path)


def test_links_of_the_readme(tmp_path: Path) -> None:
    assert release_check.check_links(ROOT)
    shutil.copy(ROOT / "README.md", tmp_path)
    with pytest.raises(ReleaseError, match=r"expected files that README\.md links to, found none at docs/"):
        release_check.check_links(tmp_path)


@pytest.mark.parametrize(
    ("platform", "added", "removed", "fault"),
    [
        ("py3-none-any", [], [], None),
        ("cp311-abi3-linux_x86_64", [release_check.CORE], [], None),
        ("cp311-abi3-linux_x86_64", [], [], "_core.abi3.so is missing"),
        ("py3-none-any", [release_check.CORE], [], "_core.abi3.so does not belong there"),
        ("py3-none-any", ["token2wave/core/batch.c"], [], "batch.c does not belong there"),
        ("py3-none-any", ["tests/test_words.py"], [], "test_words.py does not belong there"),
        ("py3-none-any", [], ["token2wave/py.typed"], "py.typed is missing"),
    ],
)
def test_contents_of_a_wheel(
    platform: str, added: list[str], removed: list[str], fault: str | None, tmp_path: Path
) -> None:
    wheel = tmp_path / f"token2wave-1.0-{platform}.whl"
    metadata = [f"token2wave-1.0.dist-info/{name}" for name in release_check.METADATA]
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in {*IN_WHEEL, *metadata, *added} - set(removed):
            archive.writestr(name, "")
    if fault is None:
        assert release_check.check_wheel(wheel, PACKAGE).endswith(" files")
    else:
        with pytest.raises(ReleaseError, match=fault):
            release_check.check_wheel(wheel, PACKAGE)


@pytest.mark.parametrize(
    ("missing", "added"), [(None, None), ("src/token2wave/core/batch.c", None), (None, ".venv/x")]
)
def test_contents_of_the_source_archive(missing: str | None, added: str | None, tmp_path: Path) -> None:
    sdist = tmp_path / "token2wave-1.0.tar.gz"
    names = {*PACKAGE, *release_check.BUILDING, "PKG-INFO", "src/token2wave.egg-info/SOURCES.txt"}
    with tarfile.open(sdist, "w:gz") as archive:
        for name in (names | {added}) - {missing, None}:
            archive.addfile(tarfile.TarInfo(f"token2wave-1.0/{name}"))
    if missing or added:
        with pytest.raises(ReleaseError, match=r"batch\.c is missing|\.venv/x does not belong there"):
            release_check.check_sdist(sdist, PACKAGE)
    else:
        assert release_check.check_sdist(sdist, PACKAGE).endswith(" files")


def test_missing_compilers_are_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_wheels.shutil, "which", lambda name: None)
    monkeypatch.setattr(build_wheels.platform, "machine", lambda: "x86_64")
    packages = build_wheels.missing_packages(list(build_wheels.VARIANTS.values()))
    assert {"gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user"} <= set(packages)
    assert build_wheels.missing_packages([build_wheels.VARIANTS["any"]]) == []
