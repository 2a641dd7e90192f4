"""End-to-end runs in processes of their own; each takes seconds, so there are few."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from cli_helpers import TINY

PYTHON = [sys.executable, "-W", "error"]
QUICK = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}  # other threads, other rounding


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['token2wave', '--help']\n"
        "from token2wave.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert not {'torch', 'numpy', 'pyarrow', 'matplotlib'} & set(sys.modules)\n"
    )
    subprocess.run([*PYTHON, "-c", code], check=True, capture_output=True, env=QUICK)


def test_module_trains_the_same_model(model, train_csv):
    command = [*PYTHON, "-m", "token2wave", "train", "reviews.csv", "--no-prior", *TINY]
    command += ["--out", "m.safetensors"]
    done = subprocess.run(command, capture_output=True, text=True, env=QUICK)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "model: m.safetensors" in done.stdout
    assert Path("m.safetensors").read_bytes() == model.read_bytes()


def test_broken_pipe(model, workplace):
    """As with ``| head -1``: no traceback."""
    Path("many.txt").write_text("a great film\n" * 5_000)
    command = [*PYTHON, "-m", "token2wave", "predict", str(model), "--file", "many.txt"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=QUICK)
    assert process.stdout.readline().endswith(b"a great film\n")
    process.stdout.close()
    assert process.stderr.read().strip() == b""
    process.stderr.close()
    assert process.wait() == 1


def test_interruption_keeps_the_old_model(model, train_csv, workplace):
    out = workplace / "old.safetensors"
    shutil.copy(model, out)
    command = [*PYTHON, "-m", "token2wave", "train", "reviews.csv", "--out", str(out), *TINY]
    with Path("err").open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--epochs", "1000000"],
            stderr=stream,
            env=QUICK,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job ignores it
        )
    try:
        deadline = time.monotonic() + 60
        while b"epoch 2:" not in Path("err").read_bytes():
            assert process.poll() is None, Path("err").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    written = Path("err").read_text()
    assert "Traceback" not in written
    assert written.endswith("\nerror: interrupted; nothing was written\n")
    assert out.read_bytes() == model.read_bytes()
    assert sorted(os.listdir()) == ["err", "old.safetensors", "reviews.csv"]
