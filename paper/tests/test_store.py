import json

import pytest

from paper.result_store import ResultStore, has_one_clean_commit, join_origins
from token2wave.errors import DataError


def test_a_finished_result_is_not_computed_again_and_other_settings_are_another(tmp_path):
    numbers = iter(range(1, 9))

    def compute(seed):
        return ResultStore(tmp_path).compute("a/b", {"seed": seed}, lambda: {"value": next(numbers)})

    assert compute(0) == compute(0) == {"value": 1}
    assert compute(1) == {"value": 2}
    assert compute(0) == {"value": 1}  # still there


@pytest.mark.parametrize(
    ("compute", "error"), [(lambda: 1 / 0, ZeroDivisionError), (lambda: {"value": float("nan")}, ValueError)]
)
def test_a_failed_result_or_one_that_json_cannot_hold_leaves_nothing_behind(tmp_path, compute, error):
    with pytest.raises(error):
        ResultStore(tmp_path).compute("a/b", {}, compute)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"settings": {}}', b"\xff"])
def test_a_damaged_result_is_named_with_the_cure(tmp_path, content):
    ResultStore(tmp_path).compute("a", {}, dict)
    (path,) = tmp_path.glob("a-*.json")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(
        DataError, match=r"a-\w+\.json: expected the result of an earlier run.*remove the file"
    ):
        ResultStore(tmp_path).compute("a", {}, dict)


def test_names_stay_inside_the_folder(tmp_path):
    ResultStore(tmp_path / "runs").compute("accuracy/../../owner/na me/x", {}, dict)
    (path,) = tmp_path.rglob("*.json")
    assert path.parent == tmp_path / "runs/accuracy/_/_/owner/na_me"


def test_a_result_says_how_it_was_made_and_is_what_json_makes_of_it(tmp_path):
    """Tuples, numbers as keys: what JSON changes is changed at once."""
    store = ResultStore(tmp_path)
    first = store.compute("a", {}, lambda: {"x": (1, 2), "y": {1: 2}})
    assert first == ResultStore(tmp_path).compute("a", {}, dict) == {"x": [1, 2], "y": {"1": 2}}
    (path,) = tmp_path.glob("a-*.json")
    assert json.loads(path.read_text())["made"] == store.made["a"]
    assert store.made["a"].keys() == {"seconds", "versions", "machine", "commit"}


def test_with_one_commit_alone_what_another_one_made_is_done_again(tmp_path):
    ResultStore(tmp_path, commit="a").compute("depth/x", {}, lambda: {"value": 1})
    assert ResultStore(tmp_path, commit="b").compute("depth/x", {}, dict) == {"value": 1}
    store = ResultStore(tmp_path, commit="b", same_commit=True)
    assert store.compute("depth/x", {}, lambda: {"value": 2}) == {"value": 2}
    assert store.made["depth/x"]["commit"] == "b"


def test_a_part_is_of_one_clean_commit_or_it_is_not(tmp_path):
    for name, commit in {
        "depth/x": "a",
        "depth/y": "a",
        "probes/x": "a",
        "probes/y": "b",
        "pairs/x": "a+",
    }.items():
        ResultStore(tmp_path, commit=commit).compute(name, {}, dict)
    store = ResultStore(tmp_path)
    for name in ("depth/x", "depth/y", "probes/x", "probes/y", "pairs/x"):
        store.compute(name, {}, dict)
    origins = store.origins()
    assert {part: origin["commits"] for part, origin in origins.items()} == {
        "depth": ["a"],
        "probes": ["a", "b"],
        "pairs": ["a+"],
    }
    assert [has_one_clean_commit(origin) for origin in origins.values()] == [True, False, False]
    assert origins["depth"]["results"] == 2
    assert not has_one_clean_commit({"commits": []})
    assert not has_one_clean_commit({"commits": ["unknown"]})


def test_a_result_without_a_commit_is_not_of_the_commit_of_others(tmp_path):
    names = {"depth/x-64": ("a", {"seed": 0}), "depth/x-3": (None, {"seed": 3}), "depth/y": ("a", {})}
    for name, (commit, settings) in names.items():
        ResultStore(tmp_path, commit=commit).compute(name, settings, dict)
    store = ResultStore(tmp_path)
    for name, (_, settings) in names.items():
        store.compute(name, settings, dict)
    (origin,) = store.origins().values()
    assert origin["commits"] == ["a", "unknown"]
    assert origin["seeds"] == [0, 3]
    assert not has_one_clean_commit(origin)


def test_origins_of_two_reports_are_those_of_both():
    first = {"commits": ["a"], "machines": [{"processor": "x"}], "versions": [], "seeds": [0, 1]}
    second = {
        "commits": ["a", "b"],
        "machines": [{"processor": "x"}],
        "versions": [{"torch": "2"}],
        "seeds": [0],
    }
    joined = join_origins({**first, "results": 2, "seconds": 10}, {**second, "results": 3, "seconds": 5})
    assert joined["commits"] == ["a", "b"]
    assert joined["machines"] == [{"processor": "x"}]
    assert joined["seeds"] == [0, 1]
    assert (joined["results"], joined["seconds"]) == (5, 15)
    old = join_origins({**first, "results": None, "seconds": None}, {**second, "results": 3, "seconds": 5})
    assert (old["results"], old["seconds"]) == (None, None)
