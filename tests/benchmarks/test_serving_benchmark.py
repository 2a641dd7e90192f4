"""The benchmark of the service: its hostile clients do what they say, and its table says what was found."""

import json
import subprocess
import sys
from pathlib import Path

import serving
import tables

MODEL = Path(__file__).parents[1] / "storage" / "golden" / "novelty.safetensors"
HOSTILE = Path(serving.__file__).with_name("serving_hostile.py")
RUN = {
    "requests": 4000,
    "rate": 4000.0,
    "p50": 0.005,
    "p99": 0.012,
    "max": 0.03,
    "errors": {"statuses": 0, "timeout": 0},
    "cpu_per_request": 80e-6,
}


def test_the_table():
    attacked = {**RUN, "errors": {"statuses": 3}, "rate": 900.0, "p99": 0.1}
    runs = {
        "runs": [RUN, RUN],
        **{key: {"median": RUN[key]} for key in serving.MEASURED},
        "memory_before": 10**8,
        "memory_after": 2 * 10**8,
    }
    document = {
        "command": "python benchmarks/serving.py",
        "settings": dict.fromkeys(("connections", "seconds", "runs", "threads", "workers"), 2)
        | {"data": "ag_news", "preset": "small", "rate": 1234},
        "generator": {"version": "wrk 4", "command": "wrk -c2"},
        "machine": {"processor": "a processor"},
        "data": {"test_rows": 10, "characters_per_text": 236.4, "caveats": ["It is a subset."]},
        "alone": runs,
        "at_rate": {**runs, "rate": {"median": 1233.6}},
        "attacked": {
            **attacked,
            "compared": {"right": 40, "wrong": 1},
            "hostile": {"no JSON": 17},
            "memory_before": 10**8,
            "memory_most": 3 * 10**8,
            "memory_after": 2 * 10**8,
        },
    }
    text = tables.serving_table(document)
    good, at_rate, beside = [line for line in text.splitlines() if line.startswith("| good")]
    assert good == "| good ones | 4,000 | 5 ms | 12 ms | 80 µs | 0 | 100 MB |  | 200 MB |"
    assert at_rate.startswith("| good ones that send 1,234 requests/s | 1,234 | 5 ms | 12 ms | 80 µs | 0 |")
    assert (
        beside == "| good ones beside hostile ones | 900 | 5 ms | 100 ms |  | 3 | 100 MB | 300 MB | 200 MB |"
    )
    for told in (
        "no JSON 17",
        "Of 41 answers",
        "1 differed",
        "`wrk -c2`",
        "*It is a subset.*",
        "236 characters",
    ):
        assert told in text


def test_hostile_clients():
    """In small, on a real service."""
    with serving._server(MODEL, 1) as (port, pid):
        command = [sys.executable, "-W", "error", str(HOSTILE), str(port), "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        counts = json.loads(done.stdout.splitlines()[-1])
        assert done.stderr == ""
        wanted = {"no JSON", "not HTTP", "deep nesting", "slow headers", "slow bodies", "answers unread"}
        assert wanted <= counts.keys()
        assert serving._ask(port, "GET", "/ready") == {"status": "ready"}
        assert serving._cpu_seconds(pid) > 0
        assert serving._memory(pid) > 10**7
