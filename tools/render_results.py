"""Fill the figures of the documents from the JSON files under ``results/``.

    python tools/render_results.py            # writes them in place
    python tools/render_results.py --check    # exit status 1 if a document is out of date

A block between ``<!-- results: NAME -->`` and ``<!-- /results -->`` is replaced by what ``BLOCKS`` or a
sweep of that name gives.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from token2wave.training.summary import Summary, lines

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
BLOCK = re.compile(r"(<!-- results: (?P<name>[\w-]+) -->\n).*?(<!-- /results -->)", re.DOTALL)
PUBLISHED = {
    "modulation": "91.29 to 91.66",
    "interference": "90.36 to 90.91",
}  # arXiv 2411.02674, Tables 1 and 2


def read(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def demo() -> str:
    """Render what ``make demo`` prints of its training."""
    summary = Summary(**read(RESULTS / "demo.json"))
    return "```text\n" + "\n".join(lines(summary)) + "\n```\n"


def ag_news() -> str:
    """Table of the runs with the papers' settings."""
    text = [
        "| operation | test accuracy, mean | of the seeds | published, on 120,000 rows |",
        "|---|---|---|---|",
    ]
    runs: list[dict[str, Any]] = []
    for operation, published in PUBLISHED.items():
        group = [read(path) for path in sorted((RESULTS / "ag_news-paper").glob(f"{operation}-*.json"))]
        accuracies = [100 * run["accuracy"] for run in group]
        each = ", ".join(f"{run['seed']}: {100 * run['accuracy']:.2f}" for run in group)
        text.append(f"| {operation} | **{statistics.mean(accuracies):.2f} %** | {each} | {published} % |")
        runs += group
    text.append("")
    text += [f"*{caveat}.*" for caveat in runs[0]["caveats"]]
    text.append("")
    text.append(
        f"Each row is `{runs[0]['command']}` and its like for the other seeds and operation; all figures of "
    )
    text.append("all runs are in `results/ag_news-paper/`.")
    return "\n".join(line.rstrip() for line in text) + "\n"


def sweep(name: str) -> str:
    """Table of a sweep made by ``benchmarks/sweep.py``."""
    document = read(RESULTS / "sweeps" / f"{name}.json")
    sets = list(next(iter(document["rows"].values())))
    text = [f"| variant | {' | '.join(sets)} |", "|---|" + "---|" * len(sets)]
    for variant, row in document["rows"].items():
        cells = [
            f"{100 * statistics.mean(row[data]['accuracy']):.2f}" if data in row else "" for data in sets
        ]
        name_shown = variant if " " in variant and "=" not in variant else f"`{variant}`"
        text.append(f"| {name_shown if variant else 'the preset at the time'} | {' | '.join(cells)} |")
    seeds = ", ".join(map(str, document["seeds"]))
    text.append("")
    text.append(f"Preset `{document['preset']}`, seeds {seeds}; {document['measure']}, in percent.")
    return "\n".join(text) + "\n"


BLOCKS: dict[str, Callable[[], str]] = {"demo": demo, "ag_news": ag_news}


def render(text: str) -> str:
    """Fill every block of a document."""

    def fill(match: re.Match[str]) -> str:
        name = match["name"]
        content = BLOCKS[name]() if name in BLOCKS else sweep(name)
        return match[1] + content + match[3]

    return BLOCK.sub(fill, text)


def main() -> int:
    """Render or check all documents."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        rendered = render(text)
        if rendered != text:
            stale.append(path.name)
            if not check:
                path.write_text(rendered, encoding="utf-8")
    print("out of date: " + ", ".join(stale) if stale else "all documents are up to date")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
