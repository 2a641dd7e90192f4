"""Makes the helper modules importable, also those of the tests of storage."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "storage")]
