"""A worker process of the local engine: receives segments, scores them, and reports the parts.

Messages are lines of JSON, both ways. The worker ends when its input does, and so with its parent process.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from token2wave.data.rows import Segment
from token2wave.errors import Token2WaveError
from token2wave.scoring.output_parts import JobConfig
from token2wave.scoring.part_scorer import SegmentScorer


def main() -> None:
    """Work until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that began this one
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # whatever else is printed is no message

    def send(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    tasks: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    config = JobConfig.from_dict(json.loads(sys.stdin.readline()))
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    try:
        scorer = SegmentScorer(config)
        scorer.predictor.classifier  # noqa: B018 - loaded now, so that a fault of the model is told apart
    except Token2WaveError as error:
        send(_fault(error))
        return
    send({"ready": True})
    while True:
        _work(scorer, tasks.get(), send)


def _listen(tasks: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        tasks.put(json.loads(line))
    os._exit(0)  # nobody waits for the rest


def _work(scorer: SegmentScorer, task: dict[str, Any], send: Callable[[dict[str, Any]], None]) -> None:
    number = task["number"]
    os.environ["OMP_NUM_THREADS"] = str(task["n_threads"])
    set_aside = task["set_aside"]
    try:
        parts = scorer.score_segment(
            Segment(**task["segment"]),
            number,
            set(task["done"]),
            None if set_aside is None else (set_aside[0], set_aside[1]),
        )
        for part in parts:
            send({"part": part.to_dict()})
    except Token2WaveError as error:
        send(_fault(error))
    except OSError as error:
        send(
            _fault(Token2WaveError(f"cannot be read or written ({error})", location=task["segment"]["path"]))
        )
    except Exception as error:
        traceback.print_exc()
        send({"failed": number, "reason": f"{type(error).__name__}: {str(error)[:200]}"})
    else:
        send({"complete": number})


def _fault(error: Token2WaveError) -> dict[str, Any]:
    details = {"problem": error.problem, "location": error.location, "hint": error.hint}
    return {"fault": {"kind": type(error).__name__, **details}}


if __name__ == "__main__":
    main()
