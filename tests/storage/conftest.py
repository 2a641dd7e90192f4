"""Makes the helper modules importable, also those of the tests of inference."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "inference")]
