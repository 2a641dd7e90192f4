"""Tables of ``benchmarks/html_page.py``."""

from __future__ import annotations

from typing import Any

from token2wave.formatting import count


def table(document: dict[str, Any]) -> str:
    """Size, agreement and times of the HTML file."""
    page_bytes = document["html_bytes"] - document["model_bytes"]
    rows = [
        ("model file", f"{count(document['model_bytes'])} bytes"),
        ("HTML file", f"{count(document['html_bytes'])} bytes, {count(page_bytes)} more"),
        ("from the file to the first answer", f"{document['ready_milliseconds']:.0f} ms"),
    ]
    for name, key in (
        ("predicting one text", "predicted_milliseconds"),
        ("predicting and explaining one text", "explained_milliseconds"),
    ):
        times = document[key]
        rows.append((name, f"median {times['median']:.2f} ms, 99 % within {times['p99']:.2f} ms"))
    for name, key in (("test texts", "test"), ("random Unicode", "random")):
        difference = f"{document['largest_difference'][key]:.1e}"
        rows.append((f"largest difference of a probability from the runtime, {name}", difference))
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    lines += [
        "",
        f"Model of preset `small` on {document['data']}, {count(document['n_texts'])} test texts of "
        f"{document['mean_characters']:.0f} characters on average, and as many random ones; Chromium "
        f"{document['chromium']}, {document['machine']['processor']}.",
    ]
    return "\n".join(lines) + "\n"
