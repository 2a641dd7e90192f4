"""Which versions computed a result."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

__version__ = "0.1.0"
PACKAGES = ("token2wave", "numpy", "torch", "tokenizers", "safetensors")


def versions(also: Sequence[str] = ()) -> dict[str, str]:
    """Versions of Python and of the packages a run depends on, without importing them.

    Args:
        also: further packages, which are left out where they are not installed.
    """
    import platform  # here, since predicting needs neither of the two, and they take time
    from importlib import metadata

    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "unknown"
    for package in also:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
