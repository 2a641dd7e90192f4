"""The benchmark of prediction from end to end, in this process; its clocks, its processes, and its tables."""

import json
import os
import sys
from types import SimpleNamespace
from unittest import mock

import agreement
import figures
import numpy as np
import prediction
import prediction_worker
import pytest
import tables
from jobs import answer_job, job_environment, run_job

import token2wave
from token2wave.core import load_core

pytestmark = pytest.mark.skipif(load_core() is None, reason="the native core is measured")
WORDS = {"food": "soup bread salt oven", "money": "bank share profit loan", "sport": "goal team match ball"}
NO_COLD_START = {"cold_start_seconds": 0.5, "interpreter_seconds": 0.1, "cold_peak_bytes": 2e7}


def write_texts(path, n_texts, seed):
    random = np.random.default_rng(seed)
    with path.open("w") as file:
        for row in range(n_texts):
            label = list(WORDS)[row % 3]
            text = " ".join(random.choice(WORDS[label].split(), 3 + row % 9)).upper() + " The end."
            file.write(json.dumps({"text": text, "label": label}) + "\n")


@pytest.fixture
def data(tmp_path):
    """A data set that anything can learn."""
    folder = tmp_path / "words"
    folder.mkdir()
    write_texts(folder / "train.jsonl", 90, 0)
    write_texts(folder / "test.jsonl", 30, 1)
    return folder


@pytest.fixture
def jobs(monkeypatch):
    """Jobs are done in this process, in the environment that theirs would have; this is what they were."""
    done = []

    def run_here(script, job, environment):
        done.append(job)
        with mock.patch.dict(os.environ, environment, clear=True):
            answer = answer_job(prediction_worker.JOBS | agreement.JOBS, job)
        return json.loads(json.dumps(answer))

    monkeypatch.setattr(prediction, "run_job", run_here)
    monkeypatch.setattr(agreement, "run_job", run_here)
    return done


@pytest.fixture
def compress(monkeypatch):
    """Stands in for the package's own; the file is the same, so that its accuracy is known."""
    asked = []

    def compress(model_path, out_path, data, max_size, storage):
        asked.append((max_size, storage))
        token2wave.load(model_path).save(out_path)
        return SimpleNamespace(summary={"rows_before": 12, "rows_after": 7, "storage": storage})

    monkeypatch.setattr(token2wave, "compress", compress, raising=False)
    return asked


@pytest.fixture
def start(tmp_path, data, jobs, compress, monkeypatch, capsys):
    """Runs the benchmark in a folder of its own."""
    monkeypatch.setattr("measuring.code_state", lambda: {"commit": "first", "dirty": False})
    monkeypatch.setattr(prediction, "cold_start", lambda *given: {**NO_COLD_START, "torch_loaded": False})

    def run(*arguments):
        folders = ["--results", str(tmp_path / "out"), "--build", str(tmp_path / "build")]
        assert prediction.main(["--data", str(data), "--seconds", "0", *folders, *arguments]) == 0
        document = json.loads((tmp_path / "out" / "prediction.json").read_text())
        return document, capsys.readouterr().out.splitlines()

    return run


def kinds(jobs):
    return [(job["kind"], job["native"] if job["kind"] == "measure" else job.get("model")) for job in jobs]


def test_models_are_built_once_and_systems_take_turns(start, jobs, compress, tmp_path):
    document, told = start("--systems", "fast,fast_numpy,fast_1mb", "--runs", "2")
    assert kinds(jobs) == [
        ("data", None),
        ("build", "fast"),
        ("build", "fast_1mb"),
        *2 * [("measure", True), ("measure", False), ("measure", True)],
    ]
    turns = [(run["run"], run["system"]) for run in document["runs"]]
    assert turns == [(n, name) for n in (1, 2) for name in ("fast", "fast_numpy", "fast_1mb")]
    assert compress == [(1_000_000, "auto")]

    builds = document["builds"]["words"]
    assert builds["fast"]["bytes"] == (tmp_path / "build" / "words" / "fast.safetensors").stat().st_size
    assert builds["fast"]["accuracy"] == 1
    assert builds["fast_1mb"]["made_from"] == {"fast": builds["fast"]["digest"]}
    assert builds["fast_1mb"]["facts"]["rows_after"] == 7
    group = document["medians"]["words"]["fast_numpy"]
    assert (group["runs"], group["model"]) == (2, "fast")
    assert group["figures"]["accuracy"] == {"median": 1, "min": 1, "max": 1}
    assert group["figures"]["cold_start_seconds"]["median"] == 0.5
    assert group["figures"]["texts_per_second"]["median"] > 0
    assert told[-1].startswith("[6/6] words  fast_1mb  run 2: 100.00%, ")
    assert "update_seconds" not in group["figures"]  # numpy takes too long for a table
    figures = document["medians"]["words"]["fast"]["figures"]
    assert figures["explained_texts_per_second"]["median"] > 0 < figures["update_seconds"]["median"]
    assert figures["update_rows"]["median"] == document["data"]["words"]["test_rows"]
    assert tables.prediction_table(document, "words").count("100.00 %") == 3


def test_a_start_goes_on_where_another_ended(start, jobs, tmp_path, monkeypatch):
    before, _ = start("--systems", "fast,small", "--runs", "1")
    jobs.clear()
    monkeypatch.setattr("measuring.code_state", lambda: {"commit": "second", "dirty": False})
    document, told = start("--systems", "fast", "--runs", "2", "--resume")
    assert kinds(jobs) == [("data", None), ("measure", True)]
    assert told[0] == "words  model fast: taken over, of commit first"
    assert told[1] == "[1/2] words  fast  run 1: taken over, of commit first"
    assert [run["code"]["commit"] for run in document["runs"]] == ["first", "first", "second"]
    assert document["runs"][:2] == [before["runs"][1], before["runs"][0]]  # that of `small` was not asked for
    assert document["builds"]["words"].keys() == {"fast", "small"}
    # A model that is not the one that was measured is built again; other settings make other runs.
    (tmp_path / "build" / "words" / "fast.safetensors").write_bytes(b"another")
    jobs.clear()
    start("--systems", "fast,small", "--runs", "1", "--resume")
    assert kinds(jobs) == [("data", None), ("build", "fast")]
    jobs.clear()
    start("--systems", "fast", "--runs", "1", "--resume", "--threads", "2")
    assert kinds(jobs) == [("data", None), ("build", "fast"), ("measure", True)]


def test_a_failure_is_written_down_and_the_others_go_on(start, monkeypatch):
    def broken(*given, **settings):
        raise RuntimeError("no\nluck")

    monkeypatch.setattr(token2wave, "compress", broken, raising=False)
    document, told = start("--systems", "fast_1mb,fast", "--runs", "1")
    assert document["builds"]["words"]["fast_1mb"]["error"] == "RuntimeError: no luck"
    assert document["runs"][0]["error"] == "no model: RuntimeError: no luck"
    assert document["runs"][1]["error"] is None
    assert "words  model fast_1mb: RuntimeError: no luck" in told
    table = tables.prediction_table(document, "words")
    assert "| **token2wave fast, 1 MB** | **failed** | **-** |" in table
    assert "- *token2wave fast, 1 MB, no figures: no model: RuntimeError: no luck*" in table

    monkeypatch.setattr(token2wave, "train", broken)
    document, _ = start("--systems", "fast_1mb", "--runs", "1")
    assert document["builds"]["words"]["fast_1mb"]["error"] == "made from fast, which failed"


def test_what_is_measured_is_what_the_table_says(start, monkeypatch):
    monkeypatch.setattr("token2wave.core.load_core", lambda: None)  # not built here
    document, _ = start("--systems", "fast,fast_numpy", "--runs", "1")
    native, numpy_alone = document["runs"]
    assert native["error"] == "RuntimeError: expected the native core, found none"
    assert numpy_alone["error"] is None


def test_a_rival_is_trained_and_measured(start):
    document, _ = start("--systems", "tfidf_svc", "--runs", "1")
    figures = document["runs"][0]["figures"]
    assert figures["accuracy"] == document["builds"]["words"]["tfidf_svc"]["accuracy"] == 1
    assert "prepared_texts_per_second" not in figures


def test_fasttext_is_measured_on_prepared_texts_in_both_ways(start, monkeypatch):
    fasttext = pytest.importorskip("fasttext")
    from systems import load_system

    # Few texts need more passes. With fewer than ten threads rows are not drawn (BIAS of fasttext_systems).
    for name, rate, epochs in (("fasttext_lr025", 1e-6, 1), ("fasttext_lr05", 0.4, 100)):
        for key, value in {"lr": rate, "epoch": epochs, "bucket": 999}.items():
            monkeypatch.setitem(load_system(name).settings, key, value)
    monkeypatch.setattr(prediction_worker, "ROWS_QUANTISED", 300)
    quantize = mock.Mock(wraps=fasttext.FastText._FastText.quantize)
    monkeypatch.setattr(
        fasttext.FastText._FastText, "quantize", lambda *given, **how: quantize(*given, **how)
    )
    document, _ = start("--systems", "fasttext,fasttext_quantised", "--runs", "1", "--threads", "10")
    builds = document["builds"]["words"]
    assert builds["fasttext_lr025"]["accuracy"] < builds["fasttext_lr05"]["accuracy"] == 1
    assert builds["fasttext_quantised"]["facts"] == {"source": "fasttext_lr05"}
    assert builds["fasttext_quantised"]["bytes"] < builds["fasttext_lr05"]["bytes"]
    assert quantize.call_args.kwargs["lr"] == 0.4  # else 0.05, as the file holds no rate
    found = [(run["model"], run["figures"]["accuracy"]) for run in document["runs"]]
    assert found == [("fasttext_lr05", 1), ("fasttext_quantised", 1)]
    for run in document["runs"]:
        figures = run["figures"]
        ways = run["latencies_seconds"]
        assert figures["latency_seconds"] == min(ways["predict([text])"], ways["f.predict(text)"])
        assert figures["prepared_texts_per_second"] > 0
        assert figures["prepared_latency_seconds"] > 0
        assert len(run["text"].removesuffix(" the end .")) in range(40, 60)  # prepared, and not any
    table = tables.prediction_table(document, "words")
    assert "| fastText, lr 0.5 | 100.00 % |" in table
    assert "- fastText, lr 0.25, built and not measured: " in table
    assert "- fastText, quantised: made from fastText, lr 0.5." in table


@pytest.mark.skipif(not hasattr(token2wave, "compress"), reason="there is no token2wave.compress yet")
def test_the_packages_own_compression_is_measured(data, tmp_path):
    job = {"data": str(data), "folder": str(tmp_path), "seed": 0, "threads": 1, "seconds": 0, "native": None}
    prediction_worker.read_data(job)
    for model in ("fast", "fast_1mb", "fast_int8"):
        built = prediction_worker.build({**job, "model": model})
        assert built["accuracy"] == 1
        assert built["bytes"] <= 1_000_000
    assert prediction_worker.measure({**job, "model": "fast_int8"})["figures"]["accuracy"] == 1


def test_names_are_checked_before_anything_is_run(start, jobs, data):
    with pytest.raises(SystemExit, match=r"expected some of fast, .*, found 'nosuch'"):
        start("--systems", "fast,nosuch")
    assert not jobs
    (data / "test.jsonl").unlink()
    with pytest.raises(SystemExit, match="error: words: ValueError: words has no test set"):
        start("--systems", "fast")


def test_systems_have_models_with_files_of_their_own():
    order = list(prediction_worker.MODELS)
    assert len({model.file for model in prediction_worker.MODELS.values()}) == len(order)
    for system in prediction.SYSTEMS.values():
        families = {prediction_worker.MODELS[model].family for model in system.models}
        assert (system.native is None) == (families != {"token2wave"})
    for model, sources in prediction_worker.MADE_FROM.items():
        assert all(order.index(source) < order.index(model) for source in sources)


def test_short_texts_are_those_closest_to_sixty_characters(monkeypatch):
    monkeypatch.setattr(prediction_worker, "SHORT_TEXTS", 3)
    texts = ["a" * n for n in (10, 300, 59, 63, 1000, 58)]
    assert [len(text) for text in prediction_worker.short_texts(texts)] == [59, 58, 63]


def clock(monkeypatch, seconds_of_an_action):
    """A clock that goes on by what an action takes, which is returned; it counts how often it was done."""
    now = [0.0]
    done = []

    def action(text=None):
        now[0] += seconds_of_an_action
        done.append(text)
        return len(done)

    clocks = SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: now[0] / 2)
    monkeypatch.setattr(prediction_worker, "time", clocks)
    return action, done


@pytest.mark.parametrize(("takes", "expected"), [(100.0, 3), (1.0, 5), (0.001, 9)])
def test_passes_until_they_are_enough(monkeypatch, takes, expected):
    action, _ = clock(monkeypatch, takes)
    result, passes, share = prediction_worker.timed_passes(action, 4.5)
    assert passes == pytest.approx([takes] * expected)
    assert result == expected + 1  # what the last gave; the first was for warming up
    assert share == pytest.approx(0.5)


def test_calls_until_they_are_enough(monkeypatch):
    monkeypatch.setattr(prediction_worker, "MAX_CALLS", 50)
    action, done = clock(monkeypatch, 0.01)
    assert prediction_worker.timed_calls(action, "abc", 1000) == pytest.approx([0.01] * 50)
    assert "".join(done[:7]) == "abcabca"  # three of them for warming up
    action, done = clock(monkeypatch, 5.0)
    assert len(prediction_worker.timed_calls(action, "abc", 1)) == prediction_worker.MIN_CALLS
    assert len(done) == prediction_worker.MIN_CALLS + 1
    action, _ = clock(monkeypatch, 0.1)
    assert len(prediction_worker.timed_calls(action, "abc", 2.95)) == 30


def test_cold_starts(data, tmp_path):
    path, environment = tmp_path / "a model's.safetensors", job_environment(1)
    token2wave.train(str(data), out=path, preset="fast", device="cpu")
    text = "bank 'share' \0 \ud800 \n"
    found = prediction.cold_start(prediction_worker.COLD_STARTS["token2wave"], path, text, environment)
    assert 0 < found["interpreter_seconds"] < found["cold_start_seconds"]
    assert found["torch_loaded"] is False
    assert found["cold_peak_bytes"] is None or 10_000_000 < found["cold_peak_bytes"] < 1_000_000_000
    pretended = f"import sys\nsys.modules['torch'] = sys\nassert text == {text!r}"
    assert prediction.cold_start(pretended, path, text, environment)["torch_loaded"] is True


def test_a_failed_cold_start_is_the_failure_of_its_run(start, monkeypatch):
    def cold_start(*given):
        raise prediction.subprocess.CalledProcessError(1, "python", stderr="Traceback\nKeyError: 'x'\n")

    monkeypatch.setattr(prediction, "cold_start", cold_start)
    document, _ = start("--systems", "fast", "--runs", "1")
    assert document["runs"][0]["error"] == "cold start: KeyError: 'x'"


def test_the_environment_of_a_process(monkeypatch):
    monkeypatch.setenv("TOKEN2WAVE_NATIVE", "0")
    assert "TOKEN2WAVE_NATIVE" not in job_environment(3, native=True)
    environment = job_environment(3, native=False)
    assert (environment["TOKEN2WAVE_NATIVE"], environment["OMP_NUM_THREADS"]) == ("0", "3")


def test_processes_are_bound_for_as_long_as_needed(monkeypatch):
    bound = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {5, 6, 7}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, to: bound.append(set(to)), raising=False)
    with prediction.limited_processors(2):
        assert bound == [{6, 7}]
    assert bound == [{6, 7}, {5, 6, 7}]


def test_jobs_are_done_in_processes_of_their_own(data, tmp_path):
    job = {"kind": "data", "data": str(data), "folder": str(tmp_path)}
    facts = run_job(prediction.WORKER, job, os.environ)
    assert (facts["error"], facts["classes"]) == (None, 3)
    assert json.loads((tmp_path / "test.json").read_text())["label_names"] == list(WORDS)
    script = tmp_path / "crash.py"
    script.write_text("import os, sys\nprint('core dumped', file=sys.stderr, flush=True)\nos.abort()")
    crashed = run_job(script, {}, os.environ)["error"]
    assert crashed == "stopped by signal 6, for lack of memory if it is 9: core dumped"
    script.write_text("raise SystemExit(3)")
    assert run_job(script, {}, os.environ)["error"] == "exit status 3: no message"


def test_table_method_and_figure(start, tmp_path):
    document = start("--systems", "fast,small_numpy,fast_1mb", "--runs", "1")[0]
    medians = document["medians"]["words"]
    for system, speed, one in (("fast", 1234, 5e-6), ("small_numpy", 56_789, 0.00123), ("fast_1mb", 30, 2.0)):
        for key, value in (("texts_per_second", speed), ("latency_seconds", one)):
            medians[system]["figures"][key] = dict.fromkeys(("median", "min", "max"), value)
    medians["small_numpy"]["torch_loaded"] = True
    document["builds"]["words"]["small"]["bytes"] = 2_500_000
    document["data"]["words"]["caveats"] = ["words: not all of them"]
    lines = tables.prediction_table(document, "words").splitlines()
    assert lines[2] == ("| token2wave small, numpy | 100.00 % | 2.5 MB | 56,789 | 1.23 ms | 500 ms | 20 MB |")
    assert lines[3].startswith("| **token2wave fast** | **100.00 %** | **")
    assert lines[3].endswith(" | **1,234** | **5 µs** | **500 ms** | **20 MB** |")
    assert lines[4].startswith("| **token2wave fast, 1 MB** |")
    assert "*words: not all of them.*" in lines
    assert "- fast, 1 MB: 7 of 12 rows, stored as auto." in lines
    assert "- torch was imported to predict by: token2wave small, numpy." in lines
    assert "- **fastText, quantised**: The more accurate of the two by" in tables.prediction_method(document)

    medians["tfidf_svc"] = {"runs": 0, "model": None, "errors": ["it broke"]}
    for name in ("a.svg", "b.svg"):
        figures.draw_prediction(document, "words", tmp_path / name)
    drawn = (tmp_path / "a.svg").read_text()
    assert drawn == (tmp_path / "b.svg").read_text()  # the same every time
    assert drawn.count("<!-- token2wave small, numpy -->") == 1
    assert "TF-IDF" not in drawn


def test_probabilities_are_compared():
    expected = np.array([[0.7, 0.3], [0.45, 0.55], [0.9, 0.1]], dtype=np.float32)
    found = np.array([[0.4, 0.6], [0.5, 0.5]], dtype=np.float32)
    told = agreement.difference(found, expected)
    assert told["other_classes"] == 2
    assert told["largest_difference"] == pytest.approx(0.3)
    assert told["widest_margin"] == pytest.approx(0.4)


@pytest.fixture
def agree(data, jobs, compress, tmp_path):
    def agree(*arguments):
        folders = ["--results", str(tmp_path), "--build", str(tmp_path / "agreement"), "--ways", "onnx"]
        assert agreement.main(["--data", str(data), "--presets", "small", *folders, *arguments]) == 0
        document = json.loads((tmp_path / "agreement.json").read_text())
        return document["models"]["words"]["small"], tables.agreement_table(document)

    return agree


def test_every_way_of_predicting_agrees(agree, compress, monkeypatch):
    monkeypatch.setattr(agreement, "NUMPY_TEXTS", 7)
    record, table = agree()
    native, in_numpy = record["paths"]["native"], record["paths"]["numpy"]
    assert (native["texts"], native["core"], native["other_classes"]) == (30, True, 0)
    assert (in_numpy["texts"], in_numpy["core"], in_numpy["other_classes"]) == (7, False, 0)
    assert max(native["largest_difference"], in_numpy["largest_difference"]) < 1e-5
    exported, together = record["paths"]["onnx"], record["any_two"]
    assert (exported["texts"], exported["network"], exported["other_classes"]) == (30, "ONNX", 0)
    assert exported["largest_difference"] < 1e-5
    assert (together["texts"], together["other_classes"]) == (7, 0)
    assert 0 < together["largest_difference"] < 1e-5
    assert compress == [(None, "float16"), (None, "int8")]
    assert "| words, small | 30 | same classes, " in table
    assert " (first 7) | same classes, " in table
    assert " (first 7) | 100.00 % (" in table


def test_the_four_ways(agree):
    pytest.importorskip("token2wave.integrations.huggingface")
    record, table = agree("--ways", "onnx,transformers", "--storages", "", "--all")
    loaded = record["paths"]["transformers"]
    assert (loaded["error"], loaded["other_classes"], loaded["same_parameters"]) == (None, 0, True)
    assert record["any_two"]["texts"] == 30
    assert record["any_two"]["largest_difference"] < 1e-5
    assert list(record["storage"]) == ["float32"]
    assert "| native core | numpy | ONNX | transformers | any two | accuracy float32 |" in table


def test_a_way_whose_package_is_missing_has_its_reason(agree, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    record, table = agree("--all")
    assert "token2wave[onnx]" in record["paths"]["onnx"]["error"]
    assert "*words, small, onnx path: " in table


def test_ways_are_compared_with_each_other():
    first, second = np.array([[0.6, 0.4], [0.2, 0.8]]), np.array([[0.45, 0.55], [0.3, 0.7], [1, 0]])
    told = agreement.any_two([first, first, second])
    assert (told["texts"], told["other_classes"]) == (2, 1)
    assert told["largest_difference"] == pytest.approx(0.15)
    assert agreement.any_two([]) == {"texts": 0}


def test_a_network_that_computes_otherwise_is_found_out(agree, monkeypatch):
    from token2wave.models import WaveNetwork

    always_the_first = np.eye(3, dtype=np.float32)[[0] * 30]
    monkeypatch.setattr(WaveNetwork, "logits", lambda network, features: always_the_first)
    record, table = agree()
    assert record["paths"]["native"]["largest_difference"] > 0.5
    assert "| words, small | 30 | 20 other classes, " in table
    monkeypatch.setattr(WaveNetwork, "logits", None)
    assert "| words, small | 30 | failed | failed | failed | same classes, " in agree()[1]
    _, table = agree("--models", "nowhere")
    assert "*words, small: there is no small.safetensors in the folder of the models*" in table
