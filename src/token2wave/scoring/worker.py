"""A worker process of the local engine: scores the segments that it receives and reports the output parts.

Messages are lines of JSON: the settings of the job and then tasks on standard input, pairs of an event and
its value on standard output. The worker ends when its input ends, and so with its parent process.
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
from dataclasses import asdict
from typing import Any

from token2wave.errors import Token2WaveError
from token2wave.scoring.job import JobConfig, SegmentTask
from token2wave.scoring.segment_scorer import SegmentScorer


def main() -> None:
    """Work until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C
    messages = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # whatever else is printed is not a message

    def send(event: str, value: Any = None) -> None:
        messages.write(json.dumps((event, value)) + "\n")
        messages.flush()

    tasks: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    config = JobConfig.from_dict(json.loads(sys.stdin.readline()))
    if config.is_private:
        os.umask(0o077)
    threading.Thread(target=_receive, args=(tasks,), daemon=True).start()
    try:
        scorer = SegmentScorer(config)
        scorer.predictor.classifier  # noqa: B018 - load the model now: its errors end the job
    except Token2WaveError as error:
        send("error", _describe(error))
        return
    send("ready")
    while True:
        message = tasks.get()
        os.environ["OMP_NUM_THREADS"] = str(message["n_threads"])
        _score(scorer, SegmentTask.from_dict(message["task"]), send)


def _receive(tasks: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        tasks.put(json.loads(line))
    os._exit(0)  # the parent process has ended


def _score(scorer: SegmentScorer, task: SegmentTask, send: Callable[..., None]) -> None:
    try:
        for output_part in scorer.score_segment(task):
            send("part", asdict(output_part))
    except Token2WaveError as error:
        send("error", _describe(error))
    except OSError as error:
        problem = f"cannot be read or written ({error})"
        send("error", _describe(Token2WaveError(problem, location=task.segment.path)))
    except Exception as error:
        traceback.print_exc()
        send("failed", (task.number, f"{type(error).__name__}: {str(error)[:200]}"))
    else:
        send("complete", task.number)


def _describe(error: Token2WaveError) -> dict[str, Any]:
    return {"type": type(error).__name__, **vars(error)}  # problem, location and hint


if __name__ == "__main__":
    main()
