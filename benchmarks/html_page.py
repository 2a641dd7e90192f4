r"""What a classifier in one HTML file costs in Chromium: size, first answer, one text, one explanation.

    python benchmarks/html_page.py --data ag_news --texts 1000

Trains preset ``small`` for a file of at most 1 MB, exports it, opens the file in headless Chromium, and lets
the page's engine predict test texts, and random Unicode, one at a time. Needs Chromium with its driver
(``tools/install_browser.sh``) and selenium. Writes ``results/benchmarks/html_page.json``.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import ROOT, command_line, describe_origin, make_parser, write_document

import token2wave
from token2wave.classifier import Classifier
from token2wave.data import load_splits
from token2wave.serving.page import export_html

sys.path[:0] = [str(ROOT / "tests" / "page"), str(ROOT / "tests" / "inference")]
REPEATS = 20  # of a text, since the browser's clock ticks every 0.1 ms
EXPLAINED = 200
MEASURE = f"""
const texts = JSON.parse(a[0]), {{ classifier }} = token2wavePage.source;
const probabilities = texts.map((text) => Array.from(classifier.predict(text).probabilities));
const timed = (run, repeats) => texts.slice(0, repeats === 1 ? {EXPLAINED} : texts.length).map((text) => {{
  const begun = performance.now();
  for (let i = 0; i < repeats; i++) run(text);
  return (performance.now() - begun) / repeats;
}});
return {{
  probabilities,
  predicted: timed((text) => classifier.predict(text), {REPEATS}),
  explained: timed((text) => {{ for (const _ of classifier.explain(text)); }}, 1),
}};
"""


def main() -> int:
    """Measure what the command line asks for."""
    parser = make_parser(__doc__)
    parser.add_argument("--data", default="ag_news", help="data set with a test set")
    parser.add_argument("--texts", type=int, default=1_000, help="of the test set, and as many random ones")
    parser.add_argument("--max-size", default="1MB", help="of the model file")
    options = parser.parse_args()
    splits = load_splits(options.data)
    if splits.test is None:
        sys.exit(f"error: expected a data set with a test set, found none in {options.data}")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.safetensors"
        token2wave.train(splits, out=model, max_size=options.max_size)
        document = {
            "command": command_line(__file__),
            "data": options.data,
            **describe_origin(1, ["selenium"]),
            **measure(token2wave.load(model), list(splits.test.texts)[: options.texts], Path(folder)),
            "model_bytes": model.stat().st_size,
        }
    write_document(options.results / "html_page.json", document)
    return 0


def measure(classifier: Classifier, test_texts: list[str], folder: Path) -> dict[str, Any]:
    """Sizes, times in milliseconds, and the largest difference from the runtime."""
    from chromium import Chromium
    from page_texts import as_in_javascript, random_texts

    page = folder / "model.html"
    n_bytes = export_html(classifier, page).n_bytes
    test_texts = [as_in_javascript(text) for text in test_texts]
    odd = random_texts(len(test_texts), seed=0)
    browser = Chromium(folder)
    try:
        begun = time.perf_counter()
        browser.open(page.as_uri())
        browser.wait("Boolean(globalThis.token2wavePage?.answer)")
        ready = time.perf_counter() - begun
        times = {
            name: browser.evaluate(MEASURE, json.dumps(texts))
            for name, texts in (("test", test_texts), ("random", odd))
        }
        version = browser.driver.capabilities["browserVersion"]
    finally:
        browser.close()
    differences = {
        name: float(np.abs(np.array(times[name]["probabilities"]) - classifier.probabilities(texts)).max())
        for name, texts in (("test", test_texts), ("random", odd))
    }
    return {
        "chromium": version,
        "html_bytes": n_bytes,
        "n_texts": len(test_texts),
        "mean_characters": float(np.mean([len(text) for text in test_texts])),
        "largest_difference": differences,
        "ready_milliseconds": 1_000 * ready,
        "predicted_milliseconds": quantiles(times["test"]["predicted"]),
        "explained_milliseconds": quantiles(times["test"]["explained"]),
    }


def quantiles(values: list[float]) -> dict[str, float]:
    """Median, 99th percentile and largest of texts' times."""
    p99 = float(np.quantile(values, 0.99))
    return {"median": float(np.median(values)), "p99": p99, "max": max(values)}


if __name__ == "__main__":
    sys.exit(main())
