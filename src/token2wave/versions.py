"""Lists the versions that computed a result."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cache

__version__ = "0.2.0"
PACKAGES = ("token2wave", "numpy", "torch", "tokenizers", "safetensors")


def versions(also: Sequence[str] = ()) -> dict[str, str]:
    """List the versions of Python and of the packages that results depend on, without importing them.

    Args:
        also: further packages, which are left out if they are not installed.
    """
    import platform  # late, as both take time and prediction needs neither
    from importlib import metadata

    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = _version(package)
        except metadata.PackageNotFoundError:
            installed[package] = "unknown"
    for package in also:
        with suppress(metadata.PackageNotFoundError):
            installed[package] = _version(package)
    return installed


@cache
def _version(package: str) -> str:
    """The version that is installed, read once: that takes 5 ms, and each fit of a cross-validation asks."""
    from importlib import metadata

    return metadata.version(package)
