"""Tables of ``benchmarks/distributed.py``."""

from __future__ import annotations

from typing import Any

from token2wave.formatting import count, percent, size

SAID = {
    "one": "one process, one thread",
    "threads": "one process, two threads",
    "processes": "two processes, one thread each",
}


def time_table(document: dict[str, Any]) -> str:
    """Accuracy and time of one process and of two."""
    found = document["time"]
    lines = [
        "| network and batches | run as | test accuracy | training | of the time of one | with all else |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for variant, systems in found["variants"].items():
        for system, said in SAID.items():
            figures = systems[system]
            lines.append(
                f"| {variant} | {said} | {percent(figures['accuracy'])} | "
                f"{figures['train_seconds']['median']:.1f} s | {figures['train_share']['median']:.2f} | "
                f"{figures['total_share']['median']:.2f} |"
            )
    lines += [
        "",
        f"{count(found['rows'])} training rows of {found['data']} at most, drawn at random, and "
        f"{found['epochs']} epochs, in {found['precision']}; medians of {found['runs']} runs by turns, "
        f"shares turn by turn. {found['machine']['processor']}.",
        *(f"*{caveat.rstrip('.')}.*" for caveat in found["caveats"]),
    ]
    return "\n".join(lines) + "\n"


def traffic_table(document: dict[str, Any]) -> str:
    """What is sent in a step, against the rows that it touches and the size of the table."""
    found = document["traffic"]
    lines = [
        "| table | texts in a step | rows touched | sent for rows | for one | whole table | all else |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in found["rows"]:
        lines.append(
            f"| {count(each['vocabulary'])} | {each['batch_size']} | {count(round(each['rows']))} | "
            f"{size(round(each['row_bytes']))} | {count(round(each['row_bytes'] / each['rows']))} B | "
            f"{size(each['table_bytes'])} | {size(round(each['dense_bytes']))} |"
        )
    lines += [
        "",
        f"What one of two processes sends to the other, mean of {found['steps']} steps: texts of "
        f"{found['words']} words that follow Zipf's law, rows of {found['width']} numbers of four bytes.",
    ]
    return "\n".join(lines) + "\n"
