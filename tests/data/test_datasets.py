from __future__ import annotations

import json
import sys
import types
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from token2wave.data import DataOptions, TextDataset, TextSplit, available, datasets, load_split, load_splits
from token2wave.errors import ConfigError, DataError, MissingExtraError


def rows(path: Path, labels: list[Any]) -> Path:
    """A JSON lines file with the texts ``stem 1``, ``stem 2``, ..."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name.partition(".")[0]
    lines = [json.dumps({"text": f"{name} {n}", "label": x}) for n, x in enumerate(labels, start=1)]
    path.write_text("\n".join(lines))
    return path


def about(folder: Path, **keys: object) -> None:
    (folder / "README.json").write_text(json.dumps(keys))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No data set of this machine is seen, and relative paths start in an empty folder."""
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of named data sets, one of them incomplete, one no data set."""
    root = tmp_path / "named"
    rows(root / "news" / "train.jsonl", [0, 1, 1])
    rows(root / "news" / "val.jsonl", [1])
    rows(root / "news" / "test.jsonl", [1, 0])
    rows(root / "news" / "extra.jsonl", ["unread"])
    about(
        root / "news", label_names=["World", "Sports"], complete={"train": False, "val": False, "test": True}
    )
    rows(root / "reviews" / "train.jsonl", ["a", "b"])
    (root / "vocabulary").mkdir()
    (root / "file.txt").write_text("x")
    monkeypatch.setenv("TOKEN2WAVE_DATA", str(root))
    return root


def test_a_file_is_the_training_split(tmp_path: Path) -> None:
    path = rows(tmp_path / "mine.v2.jsonl", ["b", "a"])
    splits = load_splits(path)
    train = TextSplit(["mine 1", "mine 2"], ["b", "a"], str(path))
    assert splits == TextDataset("mine.v2", train, None, None, None, ())
    assert load_splits(str(path)) == splits
    assert load_split(path) == load_split(path, "train") == load_split(path, "validation") == train
    with pytest.raises(FrozenInstanceError):
        splits.name = "other"  # type: ignore[misc]


def test_only_the_training_split_has_weights(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label,weight\nhello,greeting,2\nbye,parting,1\n")
    for split in ("validation", "test"):
        (tmp_path / f"{split}.csv").write_text("text,label\nhello,greeting\n")
    splits = load_splits(tmp_path, DataOptions(weight_column="weight"))
    assert splits.validation is not None
    assert splits.test is not None
    assert splits.train.weights == [2.0, 1.0]
    assert splits.validation.weights is splits.test.weights is None


def test_columns_are_passed_on(tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text("body,kind\nhello,greeting\n")
    columns = DataOptions(text_column="body", label_column="kind")
    splits = load_splits(tmp_path, columns, test=tmp_path / "test.csv")
    assert splits.test is not None
    assert splits.train.texts == splits.test.texts == load_split(tmp_path, options=columns).texts == ["hello"]
    with pytest.raises(
        DataError, match=r"train\.csv: there is no column 'text'; the columns are 'body', 'kind'"
    ):
        load_splits(tmp_path)


@pytest.mark.parametrize("validation", ["validation", "val", "valid", "dev"])
def test_a_folder_with_splits(tmp_path: Path, validation: str) -> None:
    folder = tmp_path / "mine"
    rows(folder / "train.ndjson", ["a", "b"])
    (folder / f"{validation}.txt").write_text("__label__b some text")
    (folder / "test.csv").write_text("label,text\na,more text\n")
    (folder / "notes.md").write_text("unread")
    splits = load_splits(folder)
    assert (splits.name, splits.label_names, splits.caveats) == ("mine", None, ())
    assert splits.train.labels == ["a", "b"]
    assert splits.validation == load_split(folder, "validation")
    assert splits.validation == TextSplit(["some text"], ["b"], str(folder / f"{validation}.txt"))
    assert splits.test == load_split(folder) == TextSplit(["more text"], ["a"], str(folder / "test.csv"))


def test_a_folder_with_training_alone(tmp_path: Path) -> None:
    rows(tmp_path / "train.jsonl", ["a", "b"])
    splits = load_splits(tmp_path)
    assert (splits.validation, splits.test) == (None, None)
    with pytest.raises(DataError, match="there is no split 'test', only 'train'; choose another split"):
        load_split(tmp_path, "test")


def test_the_folder_one_is_in_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows(tmp_path / "mine" / "train.jsonl", ["a", "b"])
    monkeypatch.chdir(tmp_path / "mine")
    assert load_splits(".").name == "mine"


def test_label_names_and_caveats_of_a_folder(named: Path) -> None:
    splits = load_splits("news")
    assert splits.label_names == ("World", "Sports")
    assert splits.train.labels == ["World", "Sports", "Sports"]
    assert splits.validation is not None
    assert splits.validation.labels == ["Sports"]
    assert splits.test == load_split("news", label_names=["not", "these"])
    assert splits.test is not None
    assert splits.test.labels == ["Sports", "World"]
    assert splits.caveats == (
        "news: 3 training rows, not the complete official training set",
        "news: 1 validation rows, not the complete official validation set",
    )
    about(named / "news", label_names=["World", "Sports"], caveat="Its test split is the dev set of GLUE.")
    assert load_splits("news").caveats == ("news: Its test split is the dev set of GLUE.",)


def test_numbers_in_caveats_are_counted_and_readable(tmp_path: Path) -> None:
    rows(tmp_path / "big" / "train.jsonl", ["a", "b"] * 600)
    about(tmp_path / "big", complete={"train": False})
    assert load_splits(tmp_path / "big").caveats == (
        "big: 1,200 training rows, not the complete official training set",
    )


def test_names_are_looked_up_last(named: Path, tmp_path: Path) -> None:
    assert load_splits("reviews").train.source == str(named / "reviews" / "train.jsonl")
    rows(tmp_path / "here" / "reviews" / "train.jsonl", ["x", "y"])
    assert load_splits("reviews").train.labels == ["x", "y"]
    with pytest.raises(
        DataError, match=r"named/vocabulary: expected a file 'train' with one of the suffixes \.csv"
    ):
        load_splits("vocabulary")


def test_available(named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "_BUILT_IN", tmp_path / "corpus")
    rows(tmp_path / "corpus" / "ours" / "train.jsonl", ["a", "b"])
    rows(tmp_path / "corpus" / "news" / "train.jsonl", ["ours", "too"])
    assert available() == ("news", "ours", "reviews")
    assert load_splits("news").train.labels == ["ours", "too"]
    monkeypatch.delenv("TOKEN2WAVE_DATA")
    assert available() == ("news", "ours")
    assert load_splits("ours").name == "ours"
    with pytest.raises(DataError, match=r"built in or in TOKEN2WAVE_DATA: 'news', 'ours'; check"):
        load_splits("nothing")


def test_the_built_in_corpus() -> None:
    splits = load_splits("debian-sections")
    assert "debian-sections" in available()
    assert splits.name == "debian-sections"
    assert splits.test is not None
    assert len(splits.train) > len(splits.test) > 0
    assert set(splits.test.labels) <= set(splits.train.labels)


def test_another_test_split(named: Path, tmp_path: Path) -> None:
    path = rows(tmp_path / "later.jsonl", [0, "Sports"])
    splits = load_splits("news", test=path)
    assert splits.test == TextSplit(["later 1", "later 2"], ["World", "Sports"], str(path))
    with pytest.raises(DataError, match=r"later\.jsonl, row 2, column 'label': the label 'Chess' is not one"):
        load_splits("news", test=rows(path, [0, "Chess"]))
    assert load_splits(named / "reviews", test="news").test == load_splits("news").test
    rows(tmp_path / "only" / "test.jsonl", ["a"])
    about(tmp_path / "only", complete={"test": False, "train": False}, caveat="Small.")
    splits = load_splits("reviews", test=tmp_path / "only")
    assert splits.caveats == ("only: Small.", "only: 1 test rows, not the complete official test set")
    with pytest.raises(
        DataError, match=r"^only: expected a split 'train', found 'test'; add a training split"
    ):
        load_splits(tmp_path / "only")
    with pytest.raises(DataError, match=r"^reviews: there is no split 'test', only 'train'; "):
        load_splits("news", test="reviews")


def test_the_caveat_of_a_replaced_test_split_goes_with_it(named: Path, tmp_path: Path) -> None:
    about(named / "news", label_names=["World", "Sports"], complete={"test": False})
    assert load_splits("news").caveats == ("news: 2 test rows, not the complete official test set",)
    assert load_splits("news", test=rows(tmp_path / "later.jsonl", [0])).caveats == ()


def test_not_found_lists_what_there_is(named: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_splits("newz")
    assert str(caught.value) == (
        "newz: there is no such file, folder or data set; built in or in TOKEN2WAVE_DATA: "
        "'debian-sections', 'news', 'reviews'; check the name (did you mean 'news'?), "
        "or write hub:owner/name for the Hugging Face hub"
    )
    rows(tmp_path / "here" / "reviews.jsonl", ["a"])
    with pytest.raises(DataError, match=r"did you mean 'reviews\.jsonl'\?"):
        load_split("reviewz.jsonl")


@pytest.mark.parametrize("data", ["", "a\0b", "x" * 5000, "/no/such/folder", "no/such.csv", "no/such/thing"])
def test_strange_names_are_not_found(data: str) -> None:
    for load in (load_splits, load_split):
        with pytest.raises(DataError, match="there is no such file, folder or data set"):
            load(data)


def test_a_named_folder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN2WAVE_DATA", str(tmp_path / "gone"))
    for call in (available, lambda: load_splits("news")):
        with pytest.raises(
            DataError, match=r"^TOKEN2WAVE_DATA=.*gone: there is no such folder; correct or unset"
        ):
            call()
    assert load_splits("debian-sections").name == "debian-sections"


def test_a_folder_without_splits(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "texts.csv").write_text("text,label\nx,a\n")
    with pytest.raises(
        DataError, match=r"mine: expected a file 'train' .* found the files 'texts\.csv'; name the"
    ):
        load_splits(tmp_path / "mine")


def test_two_files_of_one_split(tmp_path: Path) -> None:
    rows(tmp_path / "train.jsonl", ["a"])
    rows(tmp_path / "val.jsonl", ["a"])
    rows(tmp_path / "dev.jsonl", ["a"])
    with pytest.raises(
        DataError, match=r"one file of split 'validation', found 'dev\.jsonl', 'val\.jsonl'; keep"
    ):
        load_splits(tmp_path)


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="here: no permission to read this; change it"):
        load_splits(tmp_path / "here")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "README.json: expected JSON, found an error: "),
        ("\xff", "README.json: expected JSON, found an error: 'utf-8'"),
        ("[1]", "README.json: expected an object, found a value of type list"),
        (
            '{"label_names": "a"}',
            "README.json, key 'label_names': expected a list of different strings, found 'a'",
        ),
        ('{"label_names": ["a", "a"]}', "key 'label_names': expected a list of different strings"),
        ('{"label_names": ["a", 1]}', "key 'label_names': expected a list of different strings"),
        ('{"label_names": []}', "key 'label_names': expected a list of different strings"),
        ('{"complete": {"train": "no"}}', "key 'complete': expected an object of true and false"),
        (
            '{"complete": false}',
            "key 'complete': expected an object of true and false, one for each split, found",
        ),
        ('{"caveat": 1}', "README.json, key 'caveat': expected a string, found the int 1"),
    ],
)
def test_a_wrong_readme(tmp_path: Path, content: str, problem: str) -> None:
    rows(tmp_path / "train.jsonl", ["a", "b"])
    (tmp_path / "README.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        load_splits(tmp_path)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))
    assert caught.value.hint == "correct or remove it"


def test_unknown_split() -> None:
    with pytest.raises(ConfigError, match="split: expected one of train, validation, test, found 'val'"):
        load_split("debian-sections", "val")


# ------------------------------------------------------------------------------------------ the hub


class FakePart:
    """As much of ``datasets.Dataset`` as is used."""

    def __init__(self, names: list[str] | None = None, **columns: list[Any]) -> None:
        label = types.SimpleNamespace(names=names) if names else types.SimpleNamespace(dtype="int64")
        self.columns = columns
        self.column_names = list(columns)
        self.features = {name: label if name == "label" else object() for name in columns}

    def __getitem__(self, column: str) -> list[Any]:
        return self.columns[column]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The data sets of a hub without a network; a value that is an exception is raised."""
    there: dict[str, Any] = {}

    def load_dataset(name: str) -> Any:
        found = there.get(name, ConnectionError("Couldn't reach\nthe hub"))
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    return there


def test_hub_with_class_labels(hub: dict[str, Any]) -> None:
    names = ["neg", "pos"]
    hub["owner/set"] = {
        "train": FakePart(names, text=["x", "y"], label=[1, 0]),
        "dev": FakePart(names, text=["v"], label=[1]),
        "test": FakePart(names, text=["t"], label=[0]),
        "unsupervised": FakePart(names, text=["u"], label=[-1]),
    }
    splits = load_splits("owner/set")
    assert splits == TextDataset(
        name="owner/set",
        train=TextSplit(["x", "y"], ["pos", "neg"], "owner/set (train)"),
        validation=TextSplit(["v"], ["pos"], "owner/set (validation)"),
        test=TextSplit(["t"], ["neg"], "owner/set (test)"),
        label_names=("neg", "pos"),
        caveats=(),
    )
    assert load_splits("hub:owner/set") == splits
    assert load_split("owner/set", "validation") == splits.validation


def test_hub_without_class_labels(hub: dict[str, Any]) -> None:
    hub["plain"] = {"train": FakePart(body=["x", "y"], label=[1, 0])}
    splits = load_splits("hub:plain", DataOptions(text_column="body"))
    assert (splits.train.labels, splits.label_names, splits.test) == (["1", "0"], None, None)
    assert load_split(
        "hub:plain", "train", DataOptions(text_column="body"), label_names=["n", "y"]
    ).labels == ["y", "n"]
    with pytest.raises(
        DataError, match=r"^plain \(train\): there is no column 'text'; the columns are 'body', 'label'"
    ):
        load_splits("hub:plain")
    with pytest.raises(DataError, match="there is no column 'kind'"):
        load_splits("hub:plain", DataOptions(text_column="body", label_column="kind"))


def test_hub_with_hidden_test_labels(hub: dict[str, Any]) -> None:
    names = ["neg", "pos"]
    hub["o/n"] = {
        "train": FakePart(names, text=["x", "y"], label=[1, 0]),
        "test": FakePart(names, text=["x", "y"], label=[-1, -1]),
    }
    splits = load_splits("o/n")
    assert splits.test is None
    assert splits.caveats == (
        "o/n: the labels of its test split are not public, so it has no test split here",
    )
    with pytest.raises(DataError, match=r"^o/n: there is no split 'test', only 'train'"):
        load_split("o/n")


def test_hub_values_are_checked(hub: dict[str, Any]) -> None:
    hub["o/n"] = {"train": FakePart(["a", "b"], text=["x", "y"], label=[1, 2])}
    with pytest.raises(
        DataError, match=r"^o/n \(train\), row 2, column 'label': expected a label from 0 to 1"
    ):
        load_splits("o/n")
    hub["o/n"] = {"train": FakePart(["a", "b"], text=["x", None], label=[1, 1])}
    with pytest.raises(DataError, match=r"^o/n \(train\), row 2, column 'text': the text is missing"):
        load_splits("o/n")


def test_hub_failures_are_one_error(hub: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        load_splits("owner/gone")
    assert str(caught.value) == (
        "owner/gone: cannot be fetched from the Hugging Face hub (ConnectionError: Couldn't reach the hub); "
        "check the name and the network, or save the data as files and name their folder"
    )
    hub["o/n"] = RuntimeError("x" * 10_000)
    with pytest.raises(DataError, match="RuntimeError: xxx") as caught:
        load_split("o/n")
    assert len(str(caught.value)) < 500
    hub["o/n"] = {"all": FakePart(text=["x"], label=["a"])}
    with pytest.raises(DataError, match=r"^o/n: expected a split 'train', found 'all'; "):
        load_splits("o/n")


def test_hub_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        MissingExtraError, match=r"^'o/n' is not .* 'datasets', .* pip install 'token2wave\[hub\]'$"
    ):
        load_splits("o/n")


def test_local_paths_are_never_sought_on_the_hub(tmp_path: Path, hub: dict[str, Any]) -> None:
    hub["here/set"] = hub["no/set.csv"] = AssertionError("sought on the hub")
    (tmp_path / "here" / "here").mkdir()
    for data in ("here/set", "no/set.csv"):
        with pytest.raises(DataError, match=f"^{data}: there is no such file, folder or data set"):
            load_splits(data)
