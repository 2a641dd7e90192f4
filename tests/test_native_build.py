"""The core is there where it can be: otherwise all of its tests would be skipped, and nobody told."""

import shutil

import pytest

from token2wave.core import load_core


@pytest.mark.skipif(shutil.which("cc") is None, reason="no compiler")
def test_where_there_is_a_compiler_the_core_is_built():
    assert load_core() is not None
