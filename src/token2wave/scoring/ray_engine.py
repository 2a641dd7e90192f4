"""Scores on many machines with Ray Data; the parts are the same as on one machine.

Every machine must see the model, the inputs and the output folder under the same paths, as on a shared file
system. The calling process commits the parts. A worker that dies loses only the part it had begun, and Ray
gives its task to another.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from token2wave.data.rows import Segment
from token2wave.errors import MissingExtraError, Token2WaveError
from token2wave.scoring.job import Job
from token2wave.scoring.output_parts import JobConfig, OutputPart
from token2wave.scoring.part_scorer import SegmentScorer

_scorers: dict[str, SegmentScorer] = {}  # of this process


def run(job: Job, n_workers: int | None, finished: Callable[[OutputPart], None]) -> None:
    """Score what is not finished, on the cluster that is connected, else the one that ``ray.init`` finds.

    Args:
        job: records each part.
        n_workers: most tasks at once; None: what the cluster has room for. Where a cluster of this machine is
            begun for the job, its cores.
        finished: called with each part that is recorded.

    Raises:
        MissingExtraError: Ray is not installed.
        Token2WaveError: the model, an input or the output cannot be used; finished parts are kept.
    """
    segments = job.open_segments()
    if not segments:
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no usage statistics
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("ray", "ray", purpose="scoring with Ray") from error
    begun_here = not ray.is_initialized()
    if begun_here:
        own: dict[str, Any] = (
            {} if "RAY_ADDRESS" in os.environ else {"num_cpus": n_workers, "include_dashboard": False}
        )
        ray.init(log_to_driver=False, **own)
    try:
        for part in _parts(ray, job, segments, n_workers):
            job.commit(part)
            finished(part)
    except ray.exceptions.RayError as error:
        raise _unwrapped(error) from error
    finally:
        if begun_here:
            ray.shutdown()


def _parts(ray: Any, job: Job, segments: list[int], n_workers: int | None) -> Iterator[OutputPart]:
    """Yield parts as they are written, in any order."""
    tasks = [
        {
            "config": job.config.to_dict(),
            "number": number,
            "segment": job.segments[number].to_dict(),
            "done": sorted(job.finished.get(number, ())),
        }
        for number in segments
    ]
    rows = [{"task": json.dumps(task)} for task in tasks]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    pool = ray.data.TaskPoolStrategy(size=n_workers)
    with _quiet(ray.data.DataContext.get_current()):
        for row in dataset.flat_map(_score, num_cpus=1, compute=pool).iter_rows():
            yield OutputPart.from_dict(json.loads(row["part"]))


def _score(row: dict[str, str]) -> Iterator[dict[str, str]]:
    """Score one segment; runs in a worker of Ray."""
    os.environ["OMP_NUM_THREADS"] = "1"
    task = json.loads(row["task"])
    key = json.dumps(task["config"])
    if key not in _scorers:
        _scorers.clear()
        _scorers[key] = SegmentScorer(JobConfig.from_dict(task["config"]))
    segment = Segment(**task["segment"])
    for part in _scorers[key].score_segment(segment, task["number"], set(task["done"])):
        yield {"part": json.dumps(part.to_dict())}


@contextmanager
def _quiet(context: Any) -> Iterator[None]:
    """Silence Ray's own progress bars and logs, which would mix with ours."""
    log = logging.getLogger("ray.data")
    previous = log.level, context.enable_progress_bars
    log.setLevel(logging.ERROR)
    context.enable_progress_bars = False
    try:
        yield
    finally:
        log.setLevel(previous[0])
        context.enable_progress_bars = previous[1]


def _unwrapped(error: BaseException) -> Token2WaveError:
    """The error of ours that a worker raised; else one with the message of Ray."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Token2WaveError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    return Token2WaveError(
        f"a task failed ({str(error).strip().splitlines()[-1][:200]})",
        location="Ray",
        hint="finished parts are kept; --engine local sets aside what cannot be scored",
    )
