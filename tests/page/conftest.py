"""Makes the helper modules importable, those of the runtime's tests too, and opens Chromium."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "runtime")]
