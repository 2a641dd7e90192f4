"""Makes the helper modules of other folders importable."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("explanation", "training")]
