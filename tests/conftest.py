"""What holds for every test."""

import os


def pytest_configure() -> None:
    """No test depends on data that lies outside the repository, wherever it is run."""
    os.environ.pop("TOKEN2WAVE_DATA", None)
