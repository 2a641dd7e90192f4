"""What is chosen to be labelled next: unsure and different texts, from pools of any size and kind."""

import csv
import gzip
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from labelling_data import FILLERS, make_texts

import token2wave
from token2wave.data.duplicates import group_duplicates
from token2wave.errors import ConfigError, DataError, OutputError
from token2wave.labelling.selection import ADDED, STRATEGIES, describe_words, kappa_of, uncertainty


def read_rows(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def pool(tmp_path):
    texts, _ = make_texts(600, seed=1)
    path = tmp_path / "pool.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "text", "margin"), *((i, t, "x") for i, t in enumerate(texts))])
    return path


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_chooses_the_same_rows(classifier, pool, strategy):
    first, again = (token2wave.select(classifier, pool, n=20, strategy=strategy) for _ in range(2))
    assert len(first.rows) == 20
    assert len({row["id"] for row in first.rows}) == 20
    assert first.rows == again.rows


def test_the_mixture_is_unsure_and_random_is_not(classifier, pool):
    margins = {
        strategy: np.mean(
            [row["model_margin"] for row in token2wave.select(classifier, pool, n=20, strategy=strategy).rows]
        )
        for strategy in STRATEGIES
    }
    assert margins["uncertainty"] <= margins["mixture"] < margins["random"]
    assert margins["diverse"] < margins["random"]


def test_the_least_sure_text_comes_first(classifier, pool):
    texts = [row["text"] for row in read_rows(pool)]
    scores = uncertainty(classifier, classifier.probabilities(texts).astype(float))
    result = token2wave.select(classifier, texts, n=5, strategy="uncertainty")
    assert result.texts == [texts[i] for i in np.argsort(-scores, kind="stable")[:5]]


def test_the_table_has_all_columns_and_why(classifier, pool, tmp_path):
    out = tmp_path / "next.csv"
    for _ in range(2):  # a table of selected rows is replaced
        token2wave.select(classifier, pool, n=3, out=out)
    rows = read_rows(out)
    why = [f"model_{name}" if name == "margin" else name for name in ADDED]
    assert list(rows[0]) == ["id", "text", "margin", *why]
    assert all(row["margin"] == "x" for row in rows)
    for row in rows:
        prediction = classifier.predict(row["text"], novelty=True)
        assert row["predicted"] == prediction.label != row["runner_up"]
        assert float(row["probability"]) == pytest.approx(prediction.probability, abs=1e-3)
        assert float(row["novelty"]) == pytest.approx(prediction.novelty, abs=1e-3)
    with pytest.raises(OutputError, match="input"):
        token2wave.select(classifier, pool, n=3, out=pool, overwrite=True)


def test_near_duplicates_are_chosen_once_and_labelled_texts_never(classifier, tmp_path):
    texts, _ = make_texts(60, seed=2)
    copies = [f"{text} {FILLERS[i]}" for i, text in enumerate(texts)]
    labelled = tmp_path / "labelled.csv"
    labelled.write_text("text,label\n" + "".join(f"{text.upper()},good\n" for text in texts[:20]))
    result = token2wave.select(classifier, [*texts, *copies, *texts], n=180, labelled=labelled)
    groups = group_duplicates([*texts[:20], *result.texts])
    assert len(result.texts) == 40
    assert (groups == np.arange(60)).all()
    assert "only 40 different texts" in result.notes[0]


def test_a_pool_of_copies_leaves_room_for_others(classifier):
    """Many copies of the least sure text do not push the others out."""
    texts, _ = make_texts(30, seed=3)
    scores = uncertainty(classifier, classifier.probabilities(texts).astype(float))
    pool = [*[texts[int(scores.argmax())]] * 20_000, *texts]
    assert set(token2wave.select(classifier, pool, n=5, strategy="uncertainty").texts) <= set(texts)
    assert len(token2wave.select(classifier, pool, n=30).texts) == 30


def test_memory_does_not_grow_with_the_pool(classifier, tmp_path):
    peaks = []
    for n_rows in (10_000, 30_000):
        path = tmp_path / f"{n_rows}.csv.gz"
        with gzip.open(path, "wt") as file:
            file.write("text\n")
            file.writelines(f"{' '.join(FILLERS[i % 397 :][:8])} {i} fine awful\n" for i in range(n_rows))
        tracemalloc.start()
        assert token2wave.select(classifier, path, n=10).n_pool == n_rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("pool", [["fine and sad"], ["", "  ", "fine"], ["fine"] * 9, ["zzz"]])
def test_small_and_odd_pools(classifier, pool, strategy):
    result = token2wave.select(classifier, pool, n=4, strategy=strategy)
    expected = list(dict.fromkeys(text for text in pool if text.strip()))
    assert sorted(result.texts) == sorted(expected)
    assert "fewer than the 4 asked for" in result.notes[0]
    assert any("blank" in note for note in result.notes) == ("" in pool)


def test_blank_texts_alone_give_no_rows(classifier):
    assert token2wave.select(classifier, ["", " "], n=4).rows == []
    with pytest.raises(DataError, match="expected texts"):
        token2wave.select(classifier, [], n=4)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "txt"])
def test_formats_and_broken_rows(classifier, tmp_path, suffix):
    from pyarrow import parquet, table

    path, texts = tmp_path / f"pool.{suffix}", make_texts(9)[0]
    if suffix == "parquet":
        parquet.write_table(table({"text": texts, "tags": [[i] for i in range(9)]}), path)
    elif suffix == "jsonl":
        path.write_text(
            "".join(f'{{"text": "{text}", "tags": [{i}]}}\n' for i, text in enumerate(texts)) + "{\n"
        )
    else:
        path.write_text("\n".join(texts))
    result = token2wave.select(classifier, path, n=9, out=tmp_path / "next.csv")
    assert sorted(result.texts) == sorted(texts)
    assert any("1 rows cannot be read" in note for note in result.notes) == (suffix == "jsonl")
    if suffix != "txt":
        assert {row["text"]: row["tags"] for row in result.rows} == {t: [i] for i, t in enumerate(texts)}
        assert '"[' in (tmp_path / "next.csv").read_text() or ",[" in (tmp_path / "next.csv").read_text()


def test_texts_of_several_columns(classifier, tmp_path):
    path = tmp_path / "pool.csv"
    path.write_text("subject,body\nfine,sad words\nawful,great words\n")
    result = token2wave.select(classifier, path, n=2, text_column="subject,body")
    assert sorted(result.texts) == ["awful\ngreat words", "fine\nsad words"]
    assert set(result.rows[0]) == {"subject", "body", *ADDED}


def test_several_labels(tmp_path):
    texts, labels = make_texts(200)
    sets = [[label, "loud"] if i % 3 else [label] for i, label in enumerate(labels)]
    model = token2wave.train(texts, sets, preset="fast", epochs=1, baseline=False).classifier
    model = replace(model, thresholds=(0.3, 0.5, 0.9))
    pool = make_texts(50, seed=5)[0]
    result = token2wave.select(model, pool, n=5, strategy="uncertainty", previous=model)
    probabilities = model.probabilities(pool).astype(float)
    nearest = np.abs(
        (probabilities - model.thresholds)
        / np.where(probabilities < model.thresholds, model.thresholds, 1 - np.array(model.thresholds))
    )
    assert result.texts == [pool[i] for i in np.argsort(nearest.min(axis=1), kind="stable")[:5]]
    assert result.rows[0]["runner_up"] == model.label_names[nearest[pool.index(result.texts[0])].argmin()]
    assert result.is_stable


def test_the_result_says_whether_labels_still_pay(classifier, pool):
    texts, labels = make_texts(120)
    same = token2wave.select(classifier, pool, n=3, previous=classifier)
    assert same.kappa == 1
    assert same.is_stable
    assert "will change little" in same.notes[-1]
    other = token2wave.train(texts[:20], labels[:20], preset="fast", epochs=1, baseline=False).classifier
    changed = token2wave.select(classifier, pool, n=3, previous=other)
    assert changed.kappa < 0.99
    assert not changed.is_stable
    assert "still change predictions" in changed.notes[-1]
    with pytest.raises(ConfigError, match="same labels"):
        token2wave.select(classifier, pool, previous=replace(classifier, label_names=("a", "b")))
    assert kappa_of(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)  # the textbook's example


def test_words_say_which_texts_are_alike_usual_and_new():
    texts = ["a fine new film", "a fine new movie", "snow in the north", "", "opera"]
    words = describe_words(
        texts, ["a new film", "the new film", "an old opera", "a poor opera"], ["one opera"]
    )
    products = words.vectors @ words.vectors.T
    assert products[0, 1] > 0.3 > abs(products[0, 2])
    assert np.linalg.norm(words.vectors, axis=1) == pytest.approx([1, 1, 1, 0, 1], abs=1e-6)
    assert words.density[0] > words.density[1] > words.density[2]
    assert words.gain[0] > words.gain[1] > words.gain[4] > words.gain[2]
    assert describe_words(["", "x"], ["x"], []).density.shape == (2,)
