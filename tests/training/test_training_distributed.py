"""Several processes train what one does: real ones, which ``torch.distributed.run`` starts."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from distributed_worker import NETWORK, PAPER, cases, fitted, run_rank
from hypothesis import given
from hypothesis import strategies as st
from training_data import ragged, toy, toy_network, write_csv, written_rows

from token2wave import load
from token2wave.errors import ConfigError
from token2wave.models import make_batch
from token2wave.models.batch import Span
from token2wave.models.dropout import Dropout
from token2wave.pipeline import train
from token2wave.training import distributed
from token2wave.training.batches import batch_of_rank, rank_bounds, training_batches

LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
HERE = Path(__file__).parent
LOOSE = {"bfloat16": 0.02}  # of the largest weight
ROUNDING = 2e-5


@pytest.fixture(scope="module")
def folder_of_two(tmp_path_factory) -> Path:
    """Folder with the results of two processes."""
    folder = tmp_path_factory.mktemp("processes")
    write_csv(folder / "rows.csv", written_rows(300))
    write_csv(folder / "few.csv", written_rows(240))
    command = [*LAUNCH, str(HERE / "distributed_worker.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=ONE_THREAD, cwd=folder, timeout=200)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", cases())
def test_two_processes_train_what_one_does(name, folder_of_two):
    arrays, history = fitted(name)
    told = json.loads((folder_of_two / f"{name}.json").read_text())
    loose = LOOSE.get(name, ROUNDING)
    with np.load(folder_of_two / f"{name}.npz") as found:
        assert found.keys() == arrays.keys()
        for key, values in arrays.items():
            np.testing.assert_allclose(found[key], values, rtol=0, atol=loose * np.abs(values).max() + 1e-7)
    assert told["lr_factor"] == history.lr_factor
    assert (history.lr_factor < 1) == (name == "rates too large")
    if name in LOOSE:
        return
    for theirs, ours in zip(told["epochs"], history.epochs, strict=True):
        assert theirs == pytest.approx(vars(ours), rel=1e-4)


def test_the_traffic_follows_the_rows_that_steps_touch(folder_of_two):
    traffic = json.loads((folder_of_two / "traffic.json").read_text())
    few, many, large = (traffic[key] for key in ("13, 16", "20000, 16", "20000, 64"))
    row_bytes = 8 * 4 + 8  # 8 numbers of 4 bytes, and which row they belong to
    assert many["rows"] == 4 * 80
    assert large["rows"] == 320
    for each in (few, many, large):
        assert each["rows"] * row_bytes / 2 <= each["row_bytes"] <= each["rows"] * row_bytes
    assert many["row_bytes"] == pytest.approx(large["row_bytes"], rel=0.1)
    assert few["row_bytes"] == 4 * 13 * row_bytes  # a step touches all rows of this table
    # The collectives also carry sums of the loss; objects such as checksums travel as tensors, too.
    for each in (few, many, large):
        assert each["dense_bytes"] == few["dense_bytes"] * each["steps"] / few["steps"]
        assert 0 <= each["counted"] - each["row_bytes"] - each["dense_bytes"] <= 20_000
    assert many["counted"] < many["table"] / 10


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("weights", "weights head.bias: expected the same in all processes, found "),
        ("initial weights", "weights embedding.weight: expected the same in all processes, found "),
        ("examples", "features: expected the same in all processes, found "),
        (
            "seed",
            "seed: expected the same in all processes, found 0 in process 1 and 1 in process 2; give all",
        ),
        ("recipe", "recipe.lr: expected the same in all processes, found 1.0 in process 1 and 2.0"),
    ],
)
def test_differences_between_processes_end_all(name, message, folder_of_two):
    for rank in range(2):
        messages = json.loads((folder_of_two / f"differences-{rank}.json").read_text())
        assert messages[name].startswith(message)


def test_one_process_reports_a_failure_and_the_next_training_is_refused(folder_of_two):
    messages = [json.loads((folder_of_two / f"failure-{rank}.json").read_text()) for rank in range(2)]
    assert messages[0][0].startswith("DistributedError: seed: expected the same in all processes, found 0")
    assert messages[1][0] == "RemoteError: another process failed"
    assert "an earlier training failed" in messages[0][1]


def test_a_checkpoint_resumes_with_any_number_of_processes(folder_of_two, tmp_path):
    whole = (folder_of_two / "whole.safetensors").read_bytes()
    assert (folder_of_two / "resumed.safetensors").read_bytes() == whole
    out, checkpoint = tmp_path / "m.safetensors", folder_of_two / "one.checkpoint"
    train(folder_of_two / "rows.csv", out=out, checkpoint=checkpoint, resume=True, **PAPER)
    one, two = load(out), load(folder_of_two / "whole.safetensors")
    for name, values in two.network.arrays().items():
        bound = ROUNDING * np.abs(values).max() + 1e-7
        np.testing.assert_allclose(one.network.arrays()[name], values, rtol=0, atol=bound)
    assert one.training["history"] == [pytest.approx(epoch, rel=1e-4) for epoch in two.training["history"]]


def test_every_process_gets_the_classifier(folder_of_two):
    first, second = (json.loads((folder_of_two / f"classifier-{rank}.json").read_text()) for rank in range(2))
    assert first == second


# The command line
# ----------------


def launched(folder: Path, *options: str) -> subprocess.Popen[str]:
    """A run of two processes, whose output goes into files."""
    write_csv(folder / "rows.csv", written_rows(240))
    command = [*LAUNCH, "-m", "token2wave", "train", "rows.csv", "--out", "m.safetensors", "--no-prior"]
    command += [*NETWORK, *options]
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        return subprocess.Popen(command, stdout=out, stderr=err, text=True, env=ONE_THREAD, cwd=folder)


def our_errors(folder: Path) -> list[str]:
    """Lines of our errors, without those of ``torchrun``."""
    return [line for line in (folder / "err").read_text().splitlines() if line.startswith("error: ")]


def test_the_command_line_speaks_once(folder_of_two):
    out, err = (
        [(folder_of_two / f"{stream}-{rank}").read_text() for rank in range(2)] for stream in ("out", "err")
    )
    assert [text.splitlines()[-1:] for text in err] == [["status 0"]] * 2, err
    assert [text.count("epoch 2:") for text in err] == [1, 0]
    assert out[1] == ""
    summary = json.loads(out[0])
    assert summary["traffic"]["processes"] == 2
    assert summary["traffic"]["row_bytes"] > 0
    assert load(folder_of_two / "m.safetensors").predict("the striker of the team").label == "sport"


@pytest.fixture(scope="module")
def ranks():
    """Starts two processes as ``torchrun`` does, from one that has imported the package."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["distributed_worker"])

    def run(folder: Path, *arguments: str) -> list[int]:
        store = torch.distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
        processes = [
            context.Process(target=run_rank, args=(rank, store.port, folder, list(arguments)))
            for rank in range(2)
        ]
        for process in processes:
            process.start()
        try:
            for process in processes:
                process.join(timeout=120)
            return [process.exitcode for process in processes]
        finally:
            for process in processes:
                process.kill()

    return run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--stream",), "torchrun: training on a stream takes one process, found 2; run it without torchrun"),
        (
            ("--time-budget", "60s"),
            "time_budget: a search by time takes one process, since no two have the same",
        ),
    ],
)
def test_one_process_reports_an_error(options, message, tmp_path, ranks):
    write_csv(tmp_path / "rows.csv", written_rows(240))
    assert ranks(tmp_path, "train", "rows.csv", "--out", "m.safetensors", *NETWORK, *options) == [2, 2]
    (error,) = our_errors(tmp_path)
    assert error.startswith(f"error: {message}")


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_no_process_outlives_another(how, tmp_path):
    process = launched(tmp_path, "--epochs", "100000", "--checkpoint", "c")
    try:
        deadline = time.monotonic() + 100
        while "epoch 2:" not in (tmp_path / "err").read_text():
            assert process.poll() is None, (tmp_path / "err").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        processes = [int(pid) for pid in children if b"rows.csv" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(processes) == 2
        if how == "killed":
            os.kill(processes[1], signal.SIGKILL)
        else:
            for pid in [process.pid, *processes]:  # as a terminal does
                os.kill(pid, signal.SIGINT)
        assert process.wait(timeout=60) != 0
    finally:
        if process.poll() is None:
            process.kill()
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)
    said = our_errors(tmp_path)
    if how == "interrupted":
        assert said == ["error: interrupted; resume with the same command and --resume (c)"]
    assert len(said) <= 1  # torchrun may be quicker to end the other, and says that one was killed
    assert "Traceback" not in (tmp_path / "err").read_text().split("torch/distributed/elastic")[0]
    assert not (tmp_path / "m.safetensors").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "err", "out", "rows.csv"]


# The texts of a rank
# -------------------


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.integers(1, 6))
def test_ranks_have_all_texts_and_about_equal_work(lengths, world_size):
    texts = ragged([[1] * length for length in lengths])
    bounds = rank_bounds(texts, world_size)
    assert bounds[0] == 0
    assert bounds[-1] == len(lengths)
    assert (np.diff(bounds) >= 0).all()
    work = np.array(lengths) + 1
    for first, last in itertools.pairwise(bounds):
        assert abs(work[first:last].sum() - work.sum() / world_size) <= work.max()


@pytest.mark.parametrize("keeps_order", [False, True])
@pytest.mark.parametrize("world_size", [1, 2, 3, 20])
def test_the_batches_of_all_ranks_are_that_of_one_process(world_size, keeps_order):
    examples = cases()["context, sgd"][0]
    options = {"token_dropout": 0.4, "sentence_ends": (7,), "has_cls": False, "keeps_order": keeps_order}

    def batches(rank_of):
        random = np.random.default_rng(1)
        return list(training_batches(examples, 16, random=random, rank_of=rank_of, **options))

    of_ranks = [batches((rank, world_size)) for rank in range(world_size)]
    for step, (batch, labels, *_) in enumerate(batches(None)):
        of_step = [of_rank[step] for of_rank in of_ranks]
        assert torch.equal(torch.cat([labels for _, labels, *_ in of_step]), labels)
        tokens = [own.rows[own.index] for own, *_ in of_step]
        assert torch.equal(torch.cat(tokens), batch.rows[batch.index])
        ordered = [own.rows[own.ordered] for own, *_ in of_step]
        assert torch.equal(torch.cat(ordered), batch.rows[batch.ordered])
        first_text = first_token = 0
        for own, *_ in of_step:
            assert own.text_span == Span(first_text, batch.n_texts)
            assert own.token_span == Span(first_token, len(batch.index))
            first_text, first_token = first_text + own.n_texts, first_token + len(own.index)


def test_dropout_of_parts_is_that_of_the_whole():
    dropout, states = Dropout(0.4), torch.randn(11, 5)
    torch.manual_seed(2)
    whole, after = dropout(states), torch.rand(3)
    found = []
    for first, last in ((0, 4), (4, 4), (4, 11)):
        torch.manual_seed(2)
        found.append(dropout(states[first:last], Span(first, 11)))
        assert torch.equal(torch.rand(3), after)
    assert torch.equal(torch.cat(found), whole)
    assert torch.equal(dropout.eval()(states, Span(0, 11)), states)


def test_a_rank_may_have_no_text():
    network = toy_network(context_width=4, variants="rows")
    batch, chosen = batch_of_rank(toy(1).features, (), None, 0, 2)
    assert chosen == slice(0, 0)
    network(batch).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert make_batch(toy(1).features).text_span is None


# Launchers
# ---------


def test_one_process_is_alone_unless_torchrun_started_it(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    assert not distributed.is_launched()
    assert distributed.rank() == 0
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "localhost")):
        monkeypatch.setenv(name, value)
        assert not distributed.is_launched()
    monkeypatch.setenv("MASTER_PORT", "1")
    assert distributed.is_launched()
    assert distributed.rank() == 1
    with pytest.raises(ConfigError, match="update takes one process, found 2"):
        distributed.require_one_process("update")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not distributed.is_launched()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert distributed.is_launched()
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ConfigError, match="WORLD_SIZE: expected a number in the environment, found 'two'"):
        distributed.world_size()
