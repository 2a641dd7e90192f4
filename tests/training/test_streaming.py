"""Training on a stream: every row once a pass, the counts of texts in memory, and the same file again."""

import gzip
import json
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import token2wave
from token2wave.data import DataOptions
from token2wave.data.file_segments import find_inputs, segments_of
from token2wave.errors import CheckpointError, ConfigError, DataError
from token2wave.features import WordConfig, fit_features
from token2wave.integrations.model_cards import training_command
from token2wave.training import loop
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.presets import preset_named
from token2wave.training.schedule import document_frequency
from token2wave.training.streaming import stream_source
from token2wave.training.streaming.first_pass import RowSample, survey_stream
from token2wave.training.streaming.stream_run import prepare_stream_run
from token2wave.training.streaming.stream_source import LabelledRows, StreamSource, open_stream, prefetch

TOPICS = {
    "sea": ["wave", "tide", "ship", "harbour", "sail", "storm", "anchor", "gull", "salt", "deck"],
    "land": ["hill", "field", "plough", "forest", "road", "barn", "wheat", "stone", "valley", "horse"],
    "sky": ["cloud", "star", "moon", "wind", "feather", "comet", "dawn", "eclipse", "orbit", "thunder"],
}
COMMON = [f"word{i}" for i in range(300)]
SMALL = {"network.width": 16, "network.context_width": 0, "features.bits": 14}


def rows_of(n_rows, seed=0):
    made = random.Random(seed)
    rows = []
    for number in range(n_rows):
        label = made.choice(sorted(TOPICS))
        words = made.choices(TOPICS[label], k=3) + made.choices(COMMON, k=made.randint(2, 12))
        made.shuffle(words)
        rows.append({"id": number, "text": " ".join(words), "label": label, "weight": made.randint(0, 3)})
    return rows


def written(folder, rows, n_files=3):
    for number in range(n_files):
        lines = "".join(json.dumps(row) + "\n" for row in rows[number::n_files])
        if number == 1:
            (folder / f"part-{number}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
        else:
            (folder / f"part-{number}.jsonl").write_text(lines)
    return folder


@pytest.fixture(scope="module")
def crawl(tmp_path_factory):
    """3,000 rows in three files, one of them compressed; no test may change them."""
    return written(tmp_path_factory.mktemp("crawl"), rows_of(3000))


@pytest.fixture
def many_segments(monkeypatch):
    """Files so divided, and blocks so small, that there are many of both."""
    module = sys.modules["token2wave.training.streaming.stream_run"]
    monkeypatch.setattr(stream_source, "BYTES_OF_A_SEGMENT", 20_000)
    monkeypatch.setattr(module, "BLOCK_FRACTION", 30_000 / (1 << 30))


def run_of(folder, options=None, overrides=(), class_weights=None, memory=1 << 30, preset=None):
    source = open_stream(folder, None, options or DataOptions(), seed=3)
    chosen = preset or preset_named("fast").with_settings({**SMALL, **dict(overrides)})
    return prepare_stream_run(
        source,
        chosen,
        dict(overrides),
        class_weights,
        memory=memory,
        max_rejected=0.01,
        callback_list=CallbackList([]),
    )


def train(folder, **how):
    how = {"preset": "fast", "settings": SMALL, "epochs": 2, "seed": 3, **how}
    return token2wave.train(folder, stream=True, **how)


# ---- rows ----


def features_of(examples):
    """What tells rows apart: their features and labels, as sorted tuples."""
    features = examples.features
    return [
        (tuple(features.ids[a:b].tolist()), int(label))
        for a, b, label in zip(features.offsets, features.offsets[1:], examples.labels, strict=False)
    ]


def test_a_pass_has_every_row_once_but_those_held_back(crawl, many_segments):
    run = run_of(crawl)
    passes = run.block_stream
    blocks = list(passes.blocks(seed=5))
    assert len(blocks) > 3
    assert all(len(block) % passes.batch_size == 0 for block in blocks[:-1])
    assert sum(map(len, blocks)) == len(passes) == run.n_train_rows
    rows = rows_of(3000)
    held_out = {*run.texts.validation.texts, *run.texts.held_out.texts}
    assert 250 < len(run.texts.validation) < 400
    assert 250 < len(run.texts.held_out) < 400
    assert not set(run.texts.validation.texts) & set(run.texts.held_out.texts)
    n_others = len(run.texts.validation) + len(run.texts.held_out)
    assert run.n_train_rows + n_others == 3000 == run.n_rows
    numbers = {name: number for number, name in enumerate(run.texts.label_names)}
    kept = [row for row in rows if row["text"] not in held_out]
    found = passes.features([row["text"] for row in kept])
    expected = [
        (tuple(found.ids[a:b].tolist()), numbers[row["label"]])
        for a, b, row in zip(found.offsets, found.offsets[1:], kept, strict=False)
    ]
    assert sorted(pair for block in blocks for pair in features_of(block)) == sorted(expected)


def test_copies_of_validation_and_held_out_texts_are_skipped(tmp_path, many_segments):
    """Each text twice, far apart and in other letters."""
    rows = [row for row in rows_of(1500) if row["text"] not in {"", " "}]
    copies = [{**row, "text": f" {row['text'].upper()}"} for row in rows]
    run = run_of(written(tmp_path, rows + copies))
    held_out = [*run.texts.validation.texts, *run.texts.held_out.texts]
    distinct = {text.strip().lower() for text in held_out}
    assert not distinct & {text.strip().lower() for text in run.texts.train.texts}
    n_trained = sum(map(len, run.block_stream.blocks(0)))
    assert n_trained == sum(row["text"].strip().lower() not in distinct for row in rows + copies)
    assert n_trained < len(rows + copies) - len(held_out)
    assert any("training skips all such rows" in caveat for caveat in run.texts.caveats)


def test_a_stream_without_test_rows_is_evaluated_on_held_out_rows(crawl):
    summary = train(crawl).summary
    assert summary.evaluated_on == "held-out"
    assert summary.evaluation["rows"] > 250
    assert summary.accuracy > 0.9


def test_passes_are_shuffled_by_their_seed_alone(crawl, many_segments):
    passes = run_of(crawl).block_stream
    first, again, other = ([features_of(block) for block in passes.blocks(seed)] for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first[0] != sorted(first[0])
    for n_done in (1, 2, len(first)):
        assert [features_of(block) for block in passes.blocks(1, n_done)] == first[n_done:]


def test_blocks_mix_files_that_are_sorted_by_label(tmp_path, many_segments):
    rows = sorted(rows_of(3000), key=lambda row: row["label"])
    (tmp_path / "sorted.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for block in list(run_of(tmp_path).block_stream.blocks(0))[:3]:
        assert np.bincount(block.labels, minlength=3).max() < 0.9 * len(block)


def test_what_is_counted_is_what_texts_in_memory_have(crawl):
    run = run_of(crawl)
    held_out = {*run.texts.validation.texts, *run.texts.held_out.texts}
    texts = [row["text"] for row in rows_of(3000) if row["text"] not in held_out]
    slow, features = fit_features(texts, run.block_stream.features.config)
    np.testing.assert_array_equal(run.block_stream.features.buckets, slow.buckets)
    np.testing.assert_array_equal(run.block_stream.frequency, document_frequency(features, slow.n_rows))
    found = run.survey
    labels = [row["label"] for row in rows_of(3000)]
    assert found.label_names == ("land", "sea", "sky")
    assert found.label_counts.tolist() == [labels.count(name) for name in found.label_names]
    lengths = [len(row["text"]) for row in rows_of(3000)]
    assert found.n_characters == sum(lengths)


def test_counts_do_not_depend_on_resets(crawl, monkeypatch):
    module = sys.modules["token2wave.training.streaming.first_pass"]
    usual = run_of(crawl)
    monkeypatch.setattr(module, "MAX_UINT32_COUNT", 1)
    other = run_of(crawl)
    np.testing.assert_array_equal(usual.block_stream.frequency, other.block_stream.frequency)
    np.testing.assert_array_equal(usual.block_stream.features.buckets, other.block_stream.features.buckets)


def test_memory_decides_how_many_features_there_are(crawl):
    every = run_of(crawl).block_stream.features
    few = run_of(crawl, memory=128 << 20, preset=preset_named("fast").with_settings({"network.width": 16384}))
    bytes_of_a_row = 4 * (2 * 2 * 16384 + 8 * 3)
    assert 0 < few.block_stream.features.n_rows <= (64 << 20) // bytes_of_a_row < every.n_rows
    assert few.block_stream.features.config.min_count > 2
    assert set(few.block_stream.features.buckets) <= set(
        run_of(crawl, overrides={"features.bits": 22}.items()).block_stream.features.buckets
    )


# ---- draws ----


@settings(max_examples=50)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=30),
    most=st.integers(1, 400),
    seed=st.integers(0, 99),
)
def test_drawn_are_the_rows_of_the_smallest_draws(sizes, most, seed):
    made = np.random.default_rng(seed)
    parts = []
    for size in sizes:
        draws = made.integers(0, 30, size).astype(np.uint64)
        texts = ["x" * int(n) for n in made.integers(0, 9, size)]
        parts.append(LabelledRows(texts, [("a",)] * size, False, None, draws, []))
    drawn = RowSample(most)
    for part in parts:
        drawn.add(part)
    drawn.cut()
    every = [(int(d), t) for part in parts for d, t in zip(part.draws, part.texts, strict=True)]
    kept = [(row[0], row[2]) for row in drawn.rows]
    limit = max((d for d, _ in kept), default=-1)
    assert sorted(kept) == sorted(row for row in every if row[0] <= limit)
    assert drawn.n_characters == sum(len(t) for _, t in kept) <= most
    following = [row for row in every if row[0] > limit]
    if following:
        nearest = min(d for d, _ in following)
        whole = sum(len(t) for d, t in following if d == nearest)
        assert drawn.n_characters + whole > most or not kept or whole == 0


def test_rows_that_stand_together_are_drawn_together(crawl):
    segments = segments_of(find_inputs([crawl]))
    draws = [part.draws for part in StreamSource("crawl", segments, seed=1).read(0)]
    runs = np.concatenate(draws)
    assert len(np.unique(runs)) == -(-len(runs) // stream_source.ROWS_OF_A_DRAW)
    assert len(np.unique(runs[:16])) == 1
    other = np.concatenate([part.draws for part in StreamSource("crawl", segments, seed=2).read(0)])
    assert not np.intersect1d(runs, other).size


def test_prefetch_keeps_the_order_and_raises_errors():
    assert list(prefetch(iter(range(5)))) == list(range(5))

    def failing():
        yield 1
        raise DataError("broken")

    with pytest.raises(DataError, match="broken"):
        list(prefetch(failing()))


# ---- labels and weights ----


@pytest.mark.parametrize("class_weights", [None, "balanced", {"sea": 5}])
@pytest.mark.parametrize("weight_column", [None, "weight"])
def test_weights_are_those_of_texts_in_memory(crawl, tmp_path, class_weights, weight_column):
    run = run_of(crawl, DataOptions(weight_column=weight_column), class_weights=class_weights)
    weights, labels = [], []
    for block in run.block_stream.blocks(0):
        labels += block.labels.tolist()
        weights += [1.0] * len(block) if block.weights is None else block.weights.tolist()
    if class_weights is None and weight_column is None:
        assert set(weights) == {1.0}
        return
    assert np.mean(weights) == pytest.approx(1, abs=0.05)
    rows = rows_of(3000)
    counts = {name: sum(row["label"] == name for row in rows) for name in TOPICS}
    of_class = dict.fromkeys(TOPICS, 1.0)
    if class_weights == "balanced":
        of_class = {name: 3000 / n for name, n in counts.items()}
    elif class_weights:
        of_class["sea"] = 5.0
    own = [(of_class[row["label"]] * (row["weight"] if weight_column else 1), row["label"]) for row in rows]
    mean = np.mean([weight for weight, _ in own])
    legal = {(round(weight / mean, 4), run.texts.label_names.index(label)) for weight, label in own}
    assert {(round(weight, 4), label) for weight, label in zip(weights, labels, strict=True)} <= legal


def test_texts_with_several_labels(tmp_path):
    rows = rows_of(2000)
    for row in rows:
        row["label"] = [row["label"], *(["windy"] if "wind" in row["text"] else [])]
    folder = written(tmp_path, rows)
    run = run_of(folder)
    assert run.survey.multi_label
    assert run.texts.validation.labels.shape[1] == 4
    block = next(run.block_stream.blocks(0))
    assert block.targets.shape == (len(block), 4)
    assert set(block.targets.sum(axis=1).tolist()) <= {1.0, 2.0}
    classifier = train(folder, epochs=6).classifier
    assert classifier.multi_label
    assert set(classifier.predict("comet wind moon orbit dawn").labels) >= {"sky"}
    with pytest.raises(DataError, match="expected one label for each text, found several"):
        train(folder, multi_label=False)


def test_separated_labels_of_csv(tmp_path):
    rows = "".join(f'"{row["text"]}",{row["label"]}|x\n' for row in rows_of(1200))
    (tmp_path / "a.csv").write_text("text,label\n" + rows)
    assert run_of(tmp_path, options=DataOptions(label_separator="|")).texts.label_names == (
        "land",
        "sea",
        "sky",
        "x",
    )
    with pytest.raises(DataError, match="a separator of the labels"):
        run_of(tmp_path, options=DataOptions(multi_label=True))


# ---- whole runs ----


def test_a_stream_trains_as_well_as_texts_in_memory(crawl, tmp_path):
    rows = rows_of(600, seed=9)
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = train(f"{crawl}/*.jsonl*", test=tmp_path / "test.jsonl", epochs=6)
    assert result.summary.accuracy > 0.97
    record = result.classifier.training
    assert record["rows"] == 3000
    assert record["stream"]["labels"].keys() == TOPICS.keys()
    assert record["stream"]["sample_rows"] == result.summary.train_rows
    assert result.summary.rows == 3000
    assert result.summary.validation_rows + result.summary.train_rows == 3000


def test_a_data_set_is_streamed_with_its_other_splits(tmp_path):
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of(1500)))
    for name, seed in (("test", 5), ("validation", 6)):
        lines = "".join(json.dumps(row) + "\n" for row in rows_of(200, seed))
        (tmp_path / f"{name}.jsonl").write_text(lines)
    (tmp_path / "README.json").write_text(json.dumps({"complete": {"train": False}, "caveat": "Generated."}))
    result = train(tmp_path)
    assert (result.summary.train_rows, result.summary.validation_rows) == (1500, 200)
    assert result.summary.test_rows == 200
    assert any("1,500 training rows, not the complete" in caveat for caveat in result.summary.caveats)
    assert any("Generated." in caveat for caveat in result.summary.caveats)


def test_the_same_stream_gives_the_same_file(crawl, tmp_path, many_segments):
    for name in ("a", "b"):
        train(crawl, out=tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    train(crawl, out=tmp_path / "c", seed=4)
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


class _Stop(Callback):
    """Stops a run after so many reports of progress in training."""

    def __init__(self, n_reports):
        self.n_left, self.stage = n_reports, ""

    def on_stage(self, name, total):
        self.stage = name

    def on_advance(self, amount):
        if self.stage == "training":
            self.n_left -= 1
            if not self.n_left:
                raise KeyboardInterrupt


@pytest.mark.parametrize("n_reports", [1, 2, 3, 6, 8])
def test_a_run_that_is_stopped_within_a_pass_goes_on_from_there(
    crawl, tmp_path, many_segments, monkeypatch, n_reports
):
    train(crawl, out=tmp_path / "whole")
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    checkpoint = tmp_path / "run.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        train(crawl, checkpoint=checkpoint, callbacks=[_Stop(n_reports)])
    assert checkpoint.exists() == (n_reports > 1)
    if n_reports > 1:
        with pytest.raises(CheckpointError, match="texts and labels"):
            train(_changed(crawl, tmp_path / "changed"), checkpoint=checkpoint, resume=True)
    train(crawl, out=tmp_path / "again", checkpoint=checkpoint, resume=True)
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "again").read_bytes()
    assert not checkpoint.exists()


def _changed(crawl, folder):
    """The same rows but for one letter."""
    folder.mkdir()
    for file in crawl.iterdir():
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        content = content.replace(b"wave", b"wawe", 1)
        (folder / file.name).write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)
    return folder


def test_rates_that_are_too_large_start_again(crawl):
    result = train(crawl, settings={**SMALL, "recipe.embedding_lr": 1e7, "recipe.lr": 1e6})
    assert any("started again" in caveat for caveat in result.summary.caveats)


def test_a_stream_can_be_compressed_to_a_size(crawl, tmp_path):
    result = train(crawl, out=tmp_path / "small", max_size="40kB")
    assert (tmp_path / "small").stat().st_size <= 40_000
    assert result.summary.model_bytes <= 40_000


def test_few_passes_over_many_rows(crawl, monkeypatch):
    assert run_of(crawl).preset.recipe.epochs == preset_named("fast").recipe.epochs
    module = sys.modules["token2wave.training.streaming.stream_run"]
    monkeypatch.setattr(module, "MIN_TRAINED_TEXTS", 6000)
    assert run_of(crawl).preset.recipe.epochs == 2
    assert run_of(crawl, overrides={"recipe.epochs": 7}.items()).preset.recipe.epochs == 7


# ---- what is refused ----


def test_rows_that_cannot_be_read_are_counted(tmp_path):
    lines = [json.dumps(row) for row in rows_of(1500)]
    lines[7:7] = [
        "{broken",
        '{"text": "no label"}',
        '{"text": "x", "label": ""}',
        '{"text": "x", "label": {}}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    result = train(tmp_path)
    caveat = next(caveat for caveat in result.summary.caveats if "left out" in caveat)
    assert caveat.startswith("4 of 1,504 rows could not be used")
    assert "a.jsonl, byte" in caveat
    with pytest.raises(DataError, match=r"4 of 1,504 rows cannot be used.*--max-rejected"):
        train(tmp_path, max_rejected=0.001)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"preset": "paper", "settings": {}}, "does not train on a stream"),
        ({"baseline": True}, "--baseline: needs all texts in memory"),
        ({"time_budget": "10s"}, "--time-budget"),
        ({"teacher": "x"}, "--teacher"),
        ({"memory": "1MB"}, "memory: expected at least 128 MB"),
        ({"memory": "much"}, "memory: expected a size"),
        ({"max_rejected": 2}, "max_rejected"),
        ({"label_column": "text"}, "for both texts and labels"),
        ({"device": "cuda"}, "cuda|CUDA|does not train on a stream"),
    ],
)
def test_what_a_stream_cannot_have_is_refused(crawl, how, message):
    with pytest.raises(ConfigError, match=message):
        train(crawl, **how)


def test_streams_that_hold_too_little_are_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows_of(50)))
    with pytest.raises(DataError, match="at least 1,000 rows of a stream, found 50"):
        train(path)
    path.write_text("".join(json.dumps({**row, "label": "one"}) + "\n" for row in rows_of(1100)))
    with pytest.raises(DataError, match="every row has the same label"):
        train(path)
    with pytest.raises(ConfigError, match="add --stream"):
        token2wave.train([path, path])


def test_the_command_line_streams_a_pattern(crawl, tmp_path):
    command = [
        sys.executable,
        "-m",
        "token2wave",
        "train",
        f"{crawl}/*.jsonl*",
        "--stream",
        "--preset",
        "fast",
    ]
    command += ["--out", str(tmp_path / "m.safetensors"), "--epochs", "1", "--json", "--seed", "3"]
    command += [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    document = json.loads(done.stdout.splitlines()[-1])
    assert document["rows"] == 3000
    train(crawl, out=tmp_path / "same.safetensors", epochs=1)
    ours = token2wave.load(tmp_path / "same.safetensors")
    assert token2wave.load(tmp_path / "m.safetensors").fingerprint == ours.fingerprint


def test_the_first_pass_alone(crawl):
    source = open_stream(crawl, None, DataOptions(), seed=0)
    found = survey_stream(source, WordConfig(bits=12), 1 << 20, 0.0, CallbackList([]))
    assert found.n_rows == 3000
    assert "test" not in source.splits


def test_a_card_says_how_to_train_on_the_stream_again(crawl):
    command = training_command(train(crawl, memory="200MB").classifier, "crawl")
    assert "train crawl " in command
    assert "--stream --memory 200000000" in command
