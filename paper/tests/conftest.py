"""Small texts, small networks, and no package that brings pre-trained weights."""

import pytest
import small_studies


@pytest.fixture
def splits():
    return small_studies.splits()


@pytest.fixture
def small(monkeypatch):
    """Networks of width 16, which learn the topics within seconds; no checkpoints."""
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)
    small_studies.make_small(monkeypatch.setattr)
