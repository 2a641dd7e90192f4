"""The table of ``benchmarks/serving.py``."""

from __future__ import annotations

from typing import Any

from token2wave.formatting import count, duration, size


def table(document: dict[str, Any]) -> str:
    """Rates, waiting times, processor time and memory, alone and under attack; how it was measured."""
    settings, alone, attacked = document["settings"], document["alone"], document["attacked"]
    middle = {key: alone[key]["median"] for key in ("rate", "p50", "p99", "cpu_per_request")}
    n_errors = [sum(run["errors"].values()) for run in alone["runs"]]
    lines = [
        "| clients | requests/s | p50 | p99 | CPU of a request | errors | memory before | most | after |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        _row(
            "good ones",
            [
                count(middle["rate"]),
                duration(middle["p50"]),
                duration(middle["p99"]),
                f"{1e6 * middle['cpu_per_request']:.0f} µs",
                count(sum(n_errors)),
                size(alone["memory_before"]),
                "",
                size(alone["memory_after"]),
            ],
        ),
        _row(
            "good ones beside hostile ones",
            [
                count(attacked["rate"]),
                duration(attacked["p50"]),
                duration(attacked["p99"]),
                "",
                count(sum(attacked["errors"].values())),
                size(attacked["memory_before"]),
                size(attacked["memory_most"]),
                size(attacked["memory_after"]),
            ],
        ),
    ]
    hostile = ", ".join(f"{name} {count(n)}" for name, n in sorted(attacked["hostile"].items()))
    n_right, n_wrong = attacked["compared"]["right"], attacked["compared"]["wrong"]
    told = (
        f"Preset `{settings['preset']}` on {settings['data']}, one text a request, in turn all "
        f"{count(document['data']['test_rows'])} test texts ({document['data']['characters_per_text']:.0f} "
        f"characters each), over {settings['connections']} connections; median of {settings['runs']} runs of "
        f"{settings['seconds']:g} s. Service ({settings['workers']} process) and generator share "
        f"{settings['threads']} threads of {document['machine']['processor']}. Generator: "
        f"{document['generator']['version']}, `{document['generator']['command']}`. Requests of hostile "
        f"clients, or their connections: {hostile}. Of {count(n_right + n_wrong)} answers compared with the "
        f"classifier's meanwhile, {count(n_wrong)} differed."
    )
    caveats = [f"*{caveat.rstrip('.')}.*" for caveat in document["data"]["caveats"]]
    return "\n".join([*lines, "", told, f"Command: `{document['command']}`.", *caveats]) + "\n"


def _row(name: str, cells: list[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"
