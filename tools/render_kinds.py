"""Send every kind of model every way, and write what comes of it into the results and ``docs/kinds.md``.

    python tools/render_kinds.py

It runs ``tests/test_kinds.py``. A cell that cannot run here, as a package is not installed, stays as it is.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "kinds.md"
RESULTS = ROOT / "results" / "kinds.json"
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

import render_results  # noqa: E402


class Recorder:
    """Collects the outcome of each cell, and the failures without one."""

    def __init__(self) -> None:
        self.outcomes: dict[tuple[str, str], dict[str, str]] = {}
        self.failures: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Read what a test recorded before it compared it with the page."""
        seen = [value for name, value in report.user_properties if name == "outcome"]
        for way, kind, outcome in seen:
            self.outcomes[way, kind] = outcome
        if report.failed and not seen and "test_a_way" in report.nodeid:
            self.failures.append(f"{report.nodeid}\n{report.longreprtext}")


def main() -> int:
    """Run the tests and write the documents; exit status 1 if a cell neither works nor refuses."""
    recorder = Recorder()
    with redirect_stdout(io.StringIO()):  # tests fail whose outcome is new
        pytest.main(["-p", "no:cacheprovider", str(ROOT / "tests" / "test_kinds.py")], plugins=[recorder])
    if recorder.failures or not recorder.outcomes:
        print(*recorder.failures, "error: a cell neither works nor refuses in one line", sep="\n\n")
        return 1
    from kinds import KINDS
    from test_kinds import WAYS

    old: Any = json.loads(RESULTS.read_text(encoding="utf-8"))["outcomes"]
    unknown = {"works": "unknown"}
    outcomes = {
        way: {
            kind.name: recorder.outcomes.get((way, kind.name), old.get(way, {}).get(kind.name, unknown))
            for kind in KINDS
        }
        for way in WAYS
    }
    document = {
        "kinds": {kind.name: kind.page for kind in KINDS},
        "ways": {name: page for name, (page, _) in WAYS.items()},
        "outcomes": outcomes,
    }
    RESULTS.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(render_results.render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
