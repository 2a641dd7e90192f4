"""The whole of ``benchmarks/growth.py`` with miniature sizes, and what is rendered of it."""

import json
import math
from functools import cache

import growth
import growth_training
import pytest
from figures import draw_growth
from growth_plan import FULL, QUICK, Plan, TrainingSize, VocabularyNetwork, with_rows
from growth_studies import MEMORY, measure_texts
from tables import growth_table, quantity, training_growth_table

RUN = {
    "command": "python benchmarks/growth.py",
    "quick": True,
    "runs": 2,
    "threads": 1,
    "seed": 0,
    "machine": {"processor": "a processor", "threads": 1, "platform": "a system", "device": "cpu"},
    "processors": 1,
    "versions": {"torch": "2.0"},
    "code": {"commit": "0123456789", "dirty": False},
}
MINI = Plan(
    runs=2,
    lengths=(8, 16, 32),
    length_range=(16, 32),
    length_texts=((64, 2),),
    widths=(8, 16),
    width_range=(8, 16),
    width_texts=4,
    vocabularies=(100, 200),
    vocabulary_range=(100, 200),
    vocabulary_networks=(
        VocabularyNetwork(8, "text", ("row Adam", "row SGD", "dense AdamW")),
        VocabularyNetwork(8, "text", ("row SGD, native core",)),
    ),
    vocabulary_ranks=50,
    vocabulary_batches=2,
    batch_sizes=(1, 4),
    batch_range=(1, 4),
    batch_width=8,
    text_counts=(100, 200),
    text_range=(100, 200),
    text_words=500,
    training={
        "rows": ("fast", TrainingSize(0, 8, 2, 300), (60, 120)),
        "words": ("fast", TrainingSize(60, 0, 2, 300), (4, 8)),
        "classes": ("fast", TrainingSize(60, 8, 0, 300), (2, 4)),
        "vocabulary": ("fast", TrainingSize(60, 8, 2, 0), (200, 300)),
    },
    training_runs=2,
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What the studies write; all in this process, as a new one takes seconds to start."""
    path = tmp_path_factory.mktemp("growth") / "growth.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("growth_studies.TABLE_ROWS", 100)
        patch.setattr("growth_vocabulary.SHORTEST", 0.01)
        patch.setattr("growth_measure.MAX_CALLS", 2)
        here = lambda function, *arguments, environment=None: function(*arguments)  # noqa: E731
        patch.setattr("growth_studies.call_in_fresh_process", here)
        patch.setattr("growth_training.call_in_fresh_process", here)
        warm_up, train = growth_training.WARM_UP, growth_training._train
        once = cache(train)  # as this process stays warm
        chosen = lambda shape, *more: (once if shape is warm_up else train)(shape, *more)  # noqa: E731
        patch.setattr("growth_training._train", chosen)
        growth.measure_studies(list(growth.STUDIES), MINI, RUN, path)
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_study_has_its_curves(measured):
    studies = measured["studies"]
    assert list(studies) == list(growth.STUDIES)
    assert len(studies["length"]["curves"]) == 5 * 2
    assert len(studies["width"]["curves"]) == 2
    assert len(studies["vocabulary"]["curves"]) in (3, 4)  # four with a native core
    assert len(studies["batch"]["curves"]) == 2 * 2
    for study in studies.values():
        assert study["run"] == RUN
        timings = 3 if study["title"] == "Vocabulary" else 1
        for curve in study["curves"]:
            sizes = [point["size"] for point in curve["points"]]
            assert sizes == sorted(sizes)
            assert len(sizes) >= 2
            assert all(len(point["values"]) == 2 * timings for point in curve["points"])
            assert curve["unit"] == "bytes" or all(point["median"] > 0 for point in curve["points"])


def test_distinct_tokens_are_counted(measured):
    studies = measured["studies"]
    once, each = (
        next(c for c in studies["batch"]["curves"] if c["name"] == name)["points"][-1]
        for name in ("each distinct token once", "every token by itself")
    )
    assert once["distinct"] < each["distinct"] == each["tokens"] == once["tokens"]
    for curve in studies["vocabulary"]["curves"]:
        assert len({point["distinct"] for point in curve["points"]}) == 1


def test_speed_is_told_where_texts_are_counted(measured):
    point = measured["studies"]["batch"]["curves"][0]["points"][-1]
    assert point["texts_per_second"] == pytest.approx(4 / point["median"])
    assert f", {point['texts_per_second']:,.0f} texts/s |" in growth_table(measured, "batch")
    assert "texts/s" not in growth_table(measured, "width")


def test_tables_tell_ends_and_slopes(measured):
    for name, study in measured["studies"].items():
        text = growth_table(measured, name)
        header, _, *rows = text.split("\n\n")[0].splitlines()
        assert len(rows) == len(study["curves"])
        assert {row.count("|") for row in rows} == {header.count("|")}
        assert "commit 0123456" in text
        assert "A quick run" in text
        curve = study["curves"][0]
        first = curve["points"][0]
        assert f"{first['size']:,}: {quantity(first['median'], curve['unit'])}" in rows[0]
        assert f"{curve['fit']['slope']:.2f}" in rows[0]


def test_tables_of_whole_runs_have_every_point(measured):
    for name, study in measured["studies"].items():
        if not name.startswith("train-"):
            continue
        text = training_growth_table(measured, name)
        header, _, time, *others = text.split("\n\n")[0].splitlines()
        points = study["curves"][0]["points"]
        assert len(others) == 4
        for point in points:
            assert f" {point['size']:,} |" in header
            assert quantity(point["median"], "s") in time
            assert f" {point['embedding_rows']:,} |" in others[2]
        first, last = points
        slope = math.log(last["median"] / first["median"]) / math.log(last["size"] / first["size"])
        assert time.endswith(f" {slope:.2f} |")
        assert "commit 0123456" in text


def test_a_curve_that_stopped_says_why(measured):
    study = dict(measured["studies"]["length"], within=[16, 64])
    study["curves"][0]["stopped"] = {"size": 64, "reason": "expected to take 99 s, over the limit of 20 s"}
    text = growth_table({"studies": {"length": study}}, "length")
    assert "ends before 64: expected to take 99 s, over the limit of 20 s." in text
    assert ", to 32 |" in text


def test_figures_are_drawn_alike_every_time(measured, tmp_path):
    drawn = draw_growth(measured, ["width"])
    assert set(drawn) == {"growth-width.svg", "growth-width.png"}
    svg = drawn["growth-width.svg"].decode()
    slope = measured["studies"]["width"]["curves"][0]["fit_within"]["slope"]
    assert f"slope {slope:.2f} for 8 to 16" in svg
    assert "<dc:date>" not in svg
    assert draw_growth(measured, ["width"]) == drawn


def test_every_study_can_be_drawn(measured, monkeypatch):
    from matplotlib.figure import Figure

    panels = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: panels.append(len(figure.axes)))
    assert len(draw_growth(measured)) == 2 * len(growth.STUDIES)
    assert panels[::2] == [
        len({curve["panel"] for curve in study["curves"]}) for study in measured["studies"].values()
    ]


def test_studies_not_measured_again_stay(measured, tmp_path, monkeypatch):
    path = tmp_path / "growth.json"
    path.write_text(json.dumps(measured), encoding="utf-8")
    monkeypatch.setattr("growth_studies.TABLE_ROWS", 100)
    later = {**RUN, "command": "later", "runs": 1}
    document = growth.measure_studies(["width"], Plan(**{**vars(MINI), "runs": 1}), later, path)
    assert document["command"] == "later"
    assert document["studies"]["width"]["run"] == later
    assert document["studies"]["length"] == measured["studies"]["length"]
    assert list(document["studies"]) == list(growth.STUDIES)


def test_the_command_line(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(growth, "measure_studies", lambda *arguments: seen.append(arguments))
    monkeypatch.setattr(growth.torch, "set_num_threads", lambda threads: seen.append(threads))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    growth.main(["--only", "width,batch", "--runs", "3", "--results", str(tmp_path)])
    threads, (names, plan, run, path) = seen
    assert threads == 2
    assert names == ["width", "batch"]
    assert plan == Plan(runs=3)
    assert path == tmp_path / "growth.json"
    assert run["command"] == "python benchmarks/growth.py --only width,batch --runs 3"
    assert {"machine", "versions", "code", "seed", "threads"} <= set(run)
    growth.main(["--quick", f"--results={tmp_path}"])
    assert seen[-1][1] == QUICK
    assert seen[-1][2]["command"] == "python benchmarks/growth.py --quick"
    assert seen[-1][3] == tmp_path / "growth-quick.json"
    with pytest.raises(SystemExit):
        growth.main(["--only", "widht"])


def test_the_requirements_have_their_points():
    assert FULL.lengths[0] == 32
    assert FULL.lengths[-1] == 16_384
    assert FULL.length_range == (512, 16_384)
    assert set(FULL.vocabulary_range) <= set(FULL.vocabularies)


def test_rows_go_on_as_far_as_asked():
    assert FULL.training["rows"][2][-1] == 1_000_000
    assert with_rows(FULL.training, 10_000_000)["rows"][2][-2:] == (1_000_000, 10_000_000)
    assert with_rows(FULL.training, 20_000)["rows"][2] == (1_000, 10_000)
    assert with_rows(FULL.training, 20_000)["classes"] == FULL.training["classes"]


def test_memory_rises_with_the_texts():
    found = measure_texts([100, 5_000], 0, 1, 500)
    if MEMORY in found[0][0]:
        assert found[0][0][MEMORY] <= found[1][0][MEMORY]
    assert found[0][1]["features"] < found[1][1]["features"]


def test_memory_that_is_zero_everywhere_is_drawn(measured):
    document = json.loads(json.dumps(measured))
    with_memory = set()
    for name, study in document["studies"].items():
        for curve in study["curves"]:
            if curve["unit"] == "bytes":
                with_memory.add(name)
                for point in curve["points"]:
                    point["median"] = 0
                curve["fit"] = curve["fit_within"] = None
    assert with_memory == {"texts", *(name for name in growth.STUDIES if name.startswith("train-"))}
    assert draw_growth(document, ["texts", "train-rows"])  # the others of training have the same panels
