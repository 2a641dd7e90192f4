"""What holds for every test."""

import os
from collections.abc import Iterator

import pytest

from token2wave.models.registry import OPERATIONS, READOUTS


def pytest_configure() -> None:
    """No test depends on data that lies outside the repository, wherever it is run."""
    os.environ.pop("TOKEN2WAVE_DATA", None)


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    """What a test registers is gone afterwards."""
    tables = OPERATIONS, READOUTS
    entries = [dict(table) for table in tables]
    yield
    for table, original in zip(tables, entries, strict=True):
        table.clear()
        table.update(original)


@pytest.fixture(autouse=True)
def _no_prior(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train small models: the 40,000 rows of the language prior are only in tests that ask for it."""
    if request.node.get_closest_marker("prior") is None:
        monkeypatch.setattr("token2wave.training.run.prior_of_texts", lambda texts: None)
