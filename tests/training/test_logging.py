"""The log of a run: short, plain, and silent unless an application asks for it."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace

import token2wave
from token2wave.data import TextDataset, TextSplit
from token2wave.reporting.summary import headline, render_stages
from token2wave.reporting.terminal import print_epochs
from token2wave.training import callbacks
from token2wave.training.callbacks import CallbackList, Epoch, LoggingCallback, StageTimes

SETTINGS = {"network.width": 8, "network.context_width": 0, "features.bits": 12}


def rows(n):
    texts = tuple(f"{'good' if i % 2 else 'bad'} lamp {i}" for i in range(n))
    return TextDataset("lamps", train=TextSplit(texts, tuple("ab"[i % 2] for i in range(n)), "lamps"))


def infos(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]


def test_training_logs_stages_epochs_and_the_headline(caplog):
    caplog.set_level(logging.DEBUG, "token2wave")
    result = token2wave.train(rows(60), epochs=2, settings=SETTINGS, device="cpu")
    lines = infos(caplog)
    assert lines[0] == "lamps: 60 rows, 2 classes"
    assert lines[-1] == headline(result.summary)
    assert "linear SVM" in lines
    assert [line.partition(":")[0] for line in lines if "epoch" in line] == [
        "training, epoch 1",
        "training, epoch 2",
        "training on all rows, epoch 1",  # the folds of cross-validation repeat it
        "training on all rows, epoch 2",
    ]
    assert len(caplog.records) > len(lines)
    assert all(record.name.startswith("token2wave.") for record in caplog.records)
    assert all(line.isprintable() for line in lines)


def test_notes_are_logged_before_the_headline(caplog):
    """So that whoever calls from Python sees which columns were guessed."""
    caplog.set_level(logging.INFO, "token2wave")
    tickets = [{"query": f"lamp {i} of {i % 7}", "intent": "ab"[i % 2]} for i in range(60)]
    token2wave.train(tickets, epochs=1, preset="fast", settings=SETTINGS, device="cpu")
    assert "Note: data: texts are read from 'query', labels from 'intent'" in infos(caplog)[:-1]


def test_many_epochs_give_few_lines(caplog):
    caplog.set_level(logging.DEBUG, "token2wave")
    log = LoggingCallback()
    log.on_stage("training", 1)
    for number in range(1, 101):
        log.on_epoch(Epoch(number, 0.5, 0.5, None, None))
    numbers = [line.split()[2] for line in infos(caplog)[1:]]
    assert numbers == [f"{number}:" for number in (*range(1, 11), *range(20, 101, 10))]
    assert len(caplog.records) == 101


def test_a_long_stage_says_how_far_it_is(caplog, monkeypatch):
    caplog.set_level(logging.INFO, "token2wave")
    monkeypatch.setattr(callbacks, "LOG_SECONDS", 0.0)
    log = LoggingCallback()
    log.on_stage("evaluation", 1200)
    log.on_advance(400)
    log.on_advance(400)
    assert infos(caplog) == [
        "evaluation: 1,200 texts",
        "evaluation: 400 of 1,200",
        "evaluation: 800 of 1,200",
    ]


def test_the_times_of_the_stages_add_up(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(callbacks.time, "process_time", lambda: 2 * clock[0])
    times = StageTimes()
    epoch = Epoch(1, 0.5, 0.9, 0.4, 0.8)
    calls = [
        (1, lambda: times.on_stage("training", 9)),
        (4, lambda: times.on_loss(0.5, 100.0)),
        (2, lambda: times.on_epoch(epoch)),
        (8, lambda: times.on_stage("linear SVM", 0)),
        (16, lambda: times.on_stage("training", 9)),
        (32, lambda: times.on_epoch(replace(epoch, validation_loss=None))),
        (64, lambda: times.on_end(None, ())),
    ]
    for seconds, call in calls:
        clock[0] += seconds
        call()
    expected = {"reading the data": 1, "training": 4 + 8 + 32 + 64, "validation": 2, "linear SVM": 16}
    assert times.wall_seconds == expected
    assert times.processor_seconds == {stage: 2 * seconds for stage, seconds in expected.items()}
    lines = render_stages(times)
    assert lines[0].split() == ["stage", "seconds", "processor", "share"]
    assert [line.split()[-3:] for line in lines[1:3]] == [["1.00", "2.00", "1%"], ["108.00", "216.00", "85%"]]
    assert lines[-1].split() == ["in", "all", "127.00", "254.00"]


def test_a_run_is_logged_once():
    log = LoggingCallback()
    assert CallbackList.with_logging([log]).callbacks == [log]
    assert len(CallbackList.with_logging([]).callbacks) == 1


def test_a_library_is_silent():
    code = (
        "import token2wave\nfrom token2wave.data import TextDataset, TextSplit\n"
        "texts = tuple(f'lamp {i}' for i in range(20))\n"
        "split = TextSplit(texts, tuple('ab' * 10), 'lamps')\n"
        "lamps = TextDataset('lamps', train=split)\n"
        f"token2wave.train(lamps, epochs=1, settings={SETTINGS!r}, device='cpu', prior=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_line_that_cannot_be_written_does_not_end_the_work(monkeypatch):
    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    with print_epochs():
        logging.getLogger("token2wave.epochs").info("epoch 1")
