import json

import pytest

from paper.result_store import ResultStore
from token2wave.errors import DataError


def counting():
    calls = []

    def compute():
        calls.append(1)
        return {"value": len(calls)}

    return calls, compute


def test_a_finished_unit_is_not_done_again(tmp_path):
    calls, compute = counting()
    assert ResultStore(tmp_path).compute("a/b", {"seed": 0}, compute) == {"value": 1}
    assert ResultStore(tmp_path).compute("a/b", {"seed": 0}, compute) == {"value": 1}
    assert len(calls) == 1


def test_other_settings_are_another_result(tmp_path):
    calls, compute = counting()
    store = ResultStore(tmp_path)
    store.compute("a", {"seed": 0}, compute)
    assert store.compute("a", {"seed": 1}, compute) == {"value": 2}
    assert store.compute("a", {"seed": 0}, compute) == {"value": 1}  # still there
    assert len(calls) == 2


def test_an_interrupted_unit_leaves_nothing_behind(tmp_path):
    def interrupted():
        raise KeyboardInterrupt

    store = ResultStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        store.compute("a/b", {}, interrupted)
    assert not list(tmp_path.rglob("*.json"))


def test_a_result_that_json_cannot_hold_is_not_kept(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        ResultStore(tmp_path).compute("a", {}, lambda: {"value": float("nan")})
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


def test_a_unit_says_how_it_was_made(tmp_path):
    store = ResultStore(tmp_path)
    store.compute("a", {}, lambda: {"x": 1})
    (path,) = tmp_path.glob("a-*.json")
    document = json.loads(path.read_text())
    assert document["made"] == store.made["a"]
    assert {"seconds", "versions", "machine", "commit"} == document["made"].keys()


def test_the_first_result_is_the_same_as_the_one_read_back(tmp_path):
    """Tuples, numbers as keys: what JSON changes is changed at once."""
    first = ResultStore(tmp_path).compute("a", {}, lambda: {"x": (1, 2), "y": {1: 2}})
    assert first == ResultStore(tmp_path).compute("a", {}, dict) == {"x": [1, 2], "y": {"1": 2}}
