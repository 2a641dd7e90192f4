"""Benchmarks are scripts: they find each other because they lie in one folder, which tests must name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
