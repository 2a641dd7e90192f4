"""Scores on many machines with Ray Data; the output is the same as on one machine.

Every machine must see the model, the inputs and the output folder under the same paths, as on a shared file
system. The calling process commits the output parts. If a worker dies, Ray gives its task to another.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from token2wave.errors import Token2WaveError, import_extra
from token2wave.scoring.job import Job, JobConfig, SegmentTask
from token2wave.scoring.journal import OutputPart
from token2wave.scoring.segment_scorer import SegmentScorer

_scorers: dict[str, SegmentScorer] = {}  # of this process, at most one


def run(job: Job, n_workers: int | None, on_commit: Callable[[OutputPart], None]) -> None:
    """Score all segments that are not complete, and call ``on_commit`` with each recorded output part.

    Uses the connected cluster, or the one that ``ray.init`` finds or starts on this machine, with at most
    ``n_workers`` tasks at once; None for as many as the cluster has room for.

    Raises:
        MissingExtraError: Ray is not installed.
        Token2WaveError: the model, an input or the output cannot be used; finished parts are kept.
    """
    segments = job.open_segments()
    if not segments:
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no usage statistics
    with import_extra("ray", "scoring with Ray"):
        import ray
        import ray.data
    is_connected = ray.is_initialized()
    if not is_connected:
        is_remote = "RAY_ADDRESS" in os.environ
        local: dict[str, Any] = {} if is_remote else {"num_cpus": n_workers, "include_dashboard": False}
        ray.init(log_to_driver=False, **local)
    config = json.dumps(asdict(job.config))
    tasks = [{"config": config, "task": json.dumps(asdict(job.task(number)))} for number in segments]
    try:
        dataset = ray.data.from_items(tasks, override_num_blocks=len(tasks))
        pool = ray.data.TaskPoolStrategy(size=n_workers)
        with _quiet(ray.data.DataContext.get_current()):
            for row in dataset.flat_map(_score, num_cpus=1, compute=pool).iter_rows():
                output_part = OutputPart.from_dict(json.loads(row["part"]))
                job.journal.commit(output_part)
                on_commit(output_part)
    except ray.exceptions.RayError as error:
        raise _find_cause(error) from error
    finally:
        if not is_connected:
            ray.shutdown()


def _score(row: dict[str, str]) -> Iterator[dict[str, str]]:
    """Score one segment; runs in a worker of Ray."""
    os.environ["OMP_NUM_THREADS"] = "1"
    config = row["config"]
    if config not in _scorers:
        _scorers.clear()
        job_config = JobConfig.from_dict(json.loads(config))
        if job_config.is_private:
            os.umask(0o077)
        _scorers[config] = SegmentScorer(job_config)
    for output_part in _scorers[config].score_segment(SegmentTask.from_dict(json.loads(row["task"]))):
        yield {"part": json.dumps(asdict(output_part))}


@contextmanager
def _quiet(context: Any) -> Iterator[None]:
    """Silence the progress bars and logs of Ray."""
    logger = logging.getLogger("ray.data")
    level, enable_progress_bars = logger.level, context.enable_progress_bars
    logger.setLevel(logging.ERROR)
    context.enable_progress_bars = False
    try:
        yield
    finally:
        logger.setLevel(level)
        context.enable_progress_bars = enable_progress_bars


def _find_cause(error: BaseException) -> Token2WaveError:
    """Return this package's error that a worker raised, or one with the message of Ray."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Token2WaveError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    return Token2WaveError(
        f"a task failed ({str(error).strip().splitlines()[-1][:200]})",
        location="Ray",
        hint="finished parts are kept; --engine local rejects the rows that cannot be scored",
    )
