"""What holds for every test."""

import gc
import os
from collections.abc import Iterator

import hypothesis  # noqa: F401 - before the freeze below, as it asks what refers to a source of randomness
import pytest

from token2wave.models.registry import OPERATIONS, READOUTS
from token2wave.run_cross_validation import cross_validate
from token2wave.training.prior_rows import prior_of_texts


def pytest_configure() -> None:
    """No test depends on data that lies outside the repository, wherever it is run."""
    os.environ.pop("TOKEN2WAVE_DATA", None)


def pytest_collection_finish() -> None:
    """Leave what was imported and collected, some 750,000 objects, out of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    """What a test registers is gone afterwards."""
    tables = OPERATIONS, READOUTS
    entries = [dict(table) for table in tables]
    yield
    for table, original in zip(tables, entries, strict=True):
        table.clear()
        table.update(original)


@pytest.fixture(scope="session", autouse=True)
def _no_prior() -> Iterator[None]:
    """Train small models, also those that tests share, without the prior's 40,000 rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("token2wave.training.run.prior_of_texts", lambda texts: None)
        yield


@pytest.fixture(scope="module")
def few_fits() -> Iterator[None]:
    """Weigh the branches of few rows without folds, five of seven fits, in a module about something else."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FEW_TO_BATCH", "FEW_TO_CROSS_VALIDATE"):
            patch.setattr(f"token2wave.training.run.{name}", 0)
        yield


@pytest.fixture(scope="module")
def plain_training(few_fits: None) -> Iterator[None]:
    """Evaluate by folds only if asked, too: two fits, where few rows without a test set take forty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "token2wave.pipeline.cross_validate",
            lambda run, last, context: last if context.folds is None else cross_validate(run, last, context),
        )
        yield


@pytest.fixture(autouse=True)
def _prior(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train with the language prior in tests marked ``prior``."""
    if request.node.get_closest_marker("prior") is not None:
        monkeypatch.setattr("token2wave.training.run.prior_of_texts", prior_of_texts)
