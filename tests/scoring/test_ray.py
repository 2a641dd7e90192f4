"""Ray Data writes the same bytes as the local engine, even if a worker dies."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scoring_data import content, crawl, write_jsonl

from token2wave.errors import ConfigError, MissingExtraError, Token2WaveError
from token2wave.scoring import ray_engine

PART_SIZE = 100_000


def test_ray_writes_the_same_bytes_if_a_worker_is_killed(
    score_here: Any, model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    rows: list[Any] = crawl(8000)
    rows[4000:4000] = [b"{"]
    pages = write_jsonl(tmp_path / "crawl.jsonl", rows)
    score_here(model, pages, tmp_path / "local", part_size=PART_SIZE)
    script = Path(__file__).with_name("ray_job.py")
    environment = {**os.environ, "HOME": str(tmp_path), "RAY_TMPDIR": "/tmp"}  # Ray writes a token at home
    done = subprocess.run(
        [sys.executable, script, model, pages, tmp_path / "ray", str(PART_SIZE)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    killed = re.search(r"killed \S+ after (\d+) parts", done.stdout)
    assert killed is not None, done.stdout
    n_parts = len(list((tmp_path / "ray" / "parts").iterdir()))
    assert 0 < int(killed[1]) < n_parts
    local, on_cluster = content(tmp_path / "local"), content(tmp_path / "ray")
    del local["summary.json"], on_cluster["summary.json"]
    assert on_cluster == local
    assert "n_read=8001" in done.stdout


def test_errors_of_the_package_are_raised_unchanged() -> None:
    ours = ConfigError("wrong", location="here")
    wrapped = RuntimeError("task failed")
    wrapped.__cause__ = ours
    outer = RuntimeError("worker failed\nat last")
    outer.cause = wrapped  # type: ignore[attr-defined]
    assert ray_engine._find_cause(outer) is ours
    with pytest.raises(Token2WaveError, match=r"Ray: a task failed \(gone\).*--engine local"):
        raise ray_engine._find_cause(RuntimeError("first\ngone"))


def test_without_ray(monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path) -> None:
    import token2wave

    monkeypatch.setitem(sys.modules, "ray", None)
    pages = write_jsonl(tmp_path / "crawl.jsonl", crawl(3))
    with pytest.raises(MissingExtraError, match=r"pip install 'token2wave\[ray\]'"):
        token2wave.score(model, pages, tmp_path / "out", engine="ray")
