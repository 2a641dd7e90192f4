r"""How good the web pages are: what axe finds, and Lighthouse's scores, on a phone and on a desktop.

    npm install --prefix FOLDER axe-core lighthouse
    python benchmarks/page_quality.py --node FOLDER

Trains preset ``fast``, exports its page, and writes its report, an explanation and an audit. axe looks at
each page light and dark, at 390 and 1440 pixels, the page also with a text, all classes and a list.
Lighthouse measures over a local server. Connection and processor are slowed down, not simulated
(``--throttling devtools``): the simulation counts a page as drawn when the last byte of its document has
come, but here the model comes last, and the page is drawn before. ``--throttling simulate`` measures that.

Needs Chromium with its driver (``tools/install_browser.sh``), selenium, and node. Prints a table and writes
``results/benchmarks/page_quality.json``. Fails if axe finds anything, or if a score is below 95.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from measuring import ROOT, command_line, describe_origin, make_parser, write_document

import token2wave
from token2wave.explanation import explanation_page
from token2wave.reporting.summary import render_table
from token2wave.serving.page import export_html

sys.path.insert(0, str(ROOT / "tests" / "page"))
TEXT = "Draws graphs of functions and solves equations with many unknowns for physicists."
CATEGORIES = ("performance", "accessibility", "best-practices")
LEAST = 95
SIZES = {"phone": (390, 844), "desktop": (1440, 900)}
ACTIONS = {
    "page": (
        "",
        "const box = document.getElementById('text'); box.value = arguments[0];"
        "box.dispatchEvent(new Event('input')); document.getElementById('more-classes').click()",
        "document.getElementById('tab-list').click(); const list = document.getElementById('list');"
        "list.value = arguments[0]; list.dispatchEvent(new Event('input'))",
        "document.getElementById('tab-review').click(); document.querySelector('details').open = true",
    ),
    "audit": ("", "document.getElementById('tab-review').click()"),
}
"""Scripts that bring a page into the states that axe looks at, one after the other."""


def main() -> int:
    """Measure what the command line asks for."""
    parser = make_parser(__doc__)
    parser.add_argument("--data", default="debian-sections", help="data set that the model is trained on")
    parser.add_argument("--node", type=Path, required=True, help="folder with axe-core and lighthouse")
    parser.add_argument("--throttling", default="devtools", help="of Lighthouse: devtools or simulate")
    options = parser.parse_args()
    modules = options.node.resolve() / "node_modules"
    for package in ("axe-core", "lighthouse"):
        if not (modules / package).is_dir():
            sys.exit(f"error: run this first: npm install --prefix {options.node} axe-core lighthouse")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pages = make_pages(folder, options.data)
        violations = run_axe(folder, pages, (modules / "axe-core" / "axe.min.js").read_text("utf-8"))
        scores = run_lighthouse(folder, pages, modules, options.throttling)
        sizes = {page: path.stat().st_size for page, path in pages.items()}
    rows = [
        (page, screen, str(len(violations[page])), *(str(score) for score in scores[page][screen].values()))
        for page in pages
        for screen in SIZES
    ]
    print("\n".join(render_table(("page", "screen", "axe finds", *CATEGORIES), rows)))
    for page, problems in violations.items():
        print(*(f"{page}: {problem}" for problem in problems), sep="\n", end="\n" if problems else "")
    document = {
        "command": command_line(__file__),
        "data": options.data,
        "throttling": options.throttling,
        **describe_origin(1, ["selenium"]),
        "versions_of_packages": {
            package: json.loads((modules / package / "package.json").read_text("utf-8"))["version"]
            for package in ("axe-core", "lighthouse")
        },
        "violations": violations,
        "scores": scores,
        "bytes": sizes,
    }
    write_document(options.results / "page_quality.json", document)
    is_low = any(n < LEAST for page in scores.values() for screen in page.values() for n in screen.values())
    return int(is_low or any(violations.values()))


def make_pages(folder: Path, data: str) -> dict[str, Path]:
    """Train a model and write its pages."""
    result = token2wave.train(data, preset="fast", report=folder / "report")
    pages = {"page": folder / "page.html", "report": folder / "report" / "report.html"}
    export_html(result.classifier, pages["page"], examples=[TEXT])
    pages["explanation"] = folder / "why.html"
    page = explanation_page([result.classifier.explain(TEXT)] * 2, "Why")
    pages["explanation"].write_text(page, encoding="utf-8")
    token2wave.audit(data, out=folder / "audit")
    pages["audit"] = folder / "audit" / "audit.html"
    return pages


def run_axe(folder: Path, pages: dict[str, Path], axe: str) -> dict[str, list[str]]:
    """What axe finds on each page, in all its states."""
    from chromium import Chromium

    violations: dict[str, list[str]] = {}
    (folder / "axe").mkdir()
    browser = Chromium(folder / "axe")
    try:
        for page, path in pages.items():
            problems: set[str] = set()
            for screen, (width, height) in SIZES.items():
                for is_dark in (False, True):
                    browser.open(path.as_uri(), width=width, height=height, dark=is_dark)
                    if page == "page":
                        browser.wait("Boolean(globalThis.token2wavePage?.answer)")
                    for action in ACTIONS.get(page, ("",)):
                        browser.driver.execute_script(action, TEXT)
                        browser.evaluate("await new Promise((resolve) => setTimeout(resolve, 500))")
                        browser.driver.execute_script(f"if (!globalThis.axe) {{ {axe} }}")
                        found = browser.evaluate("return (await axe.run()).violations")
                        colours = "dark" if is_dark else "light"
                        for each in found:
                            where = each["nodes"][0]["html"][:100]
                            problems.add(f"{screen}, {colours}: {each['id']}: {where}")
            violations[page] = sorted(problems)
    finally:
        browser.close()
    return violations


def run_lighthouse(
    folder: Path, pages: dict[str, Path], modules: Path, throttling: str
) -> dict[str, dict[str, dict[str, int]]]:
    """Lighthouse's scores of each page and screen, from 0 to 100."""
    from chromium import FLAGS

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quietly, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    scores: dict[str, dict[str, dict[str, int]]] = {}
    for page, path in pages.items():
        scores[page] = {}
        for screen in SIZES:
            command: list[str] = [
                *("node", str(modules / "lighthouse" / "cli" / "index.js")),
                f"http://127.0.0.1:{server.server_port}/{path.relative_to(folder)}",
                *("--quiet", "--output=json", f"--only-categories={','.join(CATEGORIES)}"),
                f"--throttling-method={throttling}",
                f"--chrome-flags={FLAGS}",
                *(["--preset=desktop"] if screen == "desktop" else []),
            ]
            environment = {"CHROME_PATH": str(shutil.which("chromium"))}
            scores[page][screen] = _scores(command, environment)
    server.shutdown()
    return scores


def _scores(command: list[str], environment: dict[str, str]) -> dict[str, int]:
    output = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, check=True, timeout=300
    ).stdout
    categories: dict[str, Any] = json.loads(output)["categories"]
    return {name: round(100 * (categories[name]["score"] or 0)) for name in CATEGORIES}


class Quietly(SimpleHTTPRequestHandler):
    """Serves a folder and logs nothing."""

    def log_message(self, *arguments: Any) -> None:
        """Log nothing."""


if __name__ == "__main__":
    sys.exit(main())
