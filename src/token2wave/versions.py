"""Which versions computed a result."""

from __future__ import annotations

PACKAGES = ("token2wave", "numpy", "torch", "tokenizers", "safetensors")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages a run depends on, without importing them."""
    import platform  # here, since predicting needs neither of the two, and they take time
    from importlib import metadata

    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found
