"""Makes the helper modules importable, also those of other folders, and opens Chromium."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / folder) for folder in ("page", "inference", "storage")]


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One browser for all tests; they are skipped where there is none."""
    pytest.importorskip("selenium", reason="selenium, which drives Chromium, is not installed")
    from chromium import Chromium, reason_without

    reason = reason_without()
    if reason is not None:
        pytest.skip(reason)
    browser = Chromium(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()
