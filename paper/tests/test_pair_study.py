"""The study of two texts: its networks, its training, a miniature, and verdicts from made-up answers."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import spearmanr
from small_studies import check_study

from paper import pair_network
from paper.correlation import pack_ranks
from paper.pair_data import load_task, make_tasks
from paper.pair_network import _batches, best_epoch, figure_of, train_pairs
from paper.pair_systems import NETWORKS, OPERATIONS, TRANSFORMERS, TWINS, make_systems
from paper.result_store import NotFinishedError, ResultStore
from paper.statistics import pack_answers
from paper.studies import pairs
from paper.studies.pair_tables import differences, differences_by_task, gains
from paper.studies.pairs import STUDY
from paper.study import Options
from paper.verdicts import FAILS, HOLDS, OPEN, SAME
from token2wave.models import make_batch
from token2wave.training.callbacks import CallbackList

WIDTH = 8


@pytest.fixture
def tasks(splits):
    return make_tasks(Options(splits, quick=True).load(600, 300))


def system_named(key):
    (system,) = (system for system in make_systems(WIDTH, 3) if system.key == key)
    return system


def write_set(folder, **columns):
    """A data set of two texts in CSV: the columns of each split, as lists."""
    folder.mkdir()
    for split, rows in columns.items():
        lines = [",".join(row) for row in rows]
        (folder / f"{split}.csv").write_text("\n".join(lines), encoding="utf-8")


def test_pairs_are_read_with_classes_or_scores(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN2WAVE_DATA", str(tmp_path))
    head = ("text", "text_pair", "label", "score")
    rows = [(f"text {i}", f"pair {i}", "yes" if i % 2 else "no", f"{i / 4}") for i in range(20)]
    write_set(tmp_path / "both", train=[head, *rows], test=[head, *rows[:3]])
    classes, scores = (load_task("t", "both", scores=scores) for scores in (False, True))
    assert classes.label_names == ("no", "yes")
    assert scores.label_names == ()
    for task, column in ((classes, 2), (scores, 3)):
        assert [len(task.train), len(task.validation), len(task.test)] == [16, 4, 3]
        assert list(task.test.first) == ["text 0", "text 1", "text 2"]
        assert list(task.test.second) == ["pair 0", "pair 1", "pair 2"]
        assert sorted([*task.train.first, *task.validation.first]) == sorted(row[0] for row in rows)
        for rows_of in (task.train, task.validation):
            for first, second, truth in zip(rows_of.first, rows_of.second, rows_of.truth, strict=True):
                row = rows[int(first.split()[1])]
                assert second == row[1]
                assert truth == (float(row[3]) if column == 3 else row[2] == "yes")
        assert len(task.test.features) == 6
    assert classes.settings["sha256"] != scores.settings["sha256"]


def test_a_miniature_asks_for_the_same_class_and_for_shared_words(splits, tasks):
    same, shared = tasks
    label_of = dict(zip(splits.test.texts, splits.test.labels, strict=True))
    assert sorted(same.test.first) == sorted(same.test.second) == sorted(splits.test.texts)
    pairs_of_texts = list(zip(same.test.first, same.test.second, strict=True))
    assert same.test.truth.tolist() == [
        label_of[first] == label_of[second] for first, second in pairs_of_texts
    ]
    assert 0.2 < same.test.truth.mean() < 0.5
    words = [(set(first.split()), set(second.split())) for first, second in pairs_of_texts]
    assert shared.test.truth.tolist() == [len(one & other) / len(one | other) for one, other in words]


@pytest.mark.parametrize("key", NETWORKS)
def test_a_pair_is_compared_by_the_states_of_both_texts(tasks, key):
    """Against one text after the other, each through the encoder alone."""
    task = tasks[0]
    network = system_named(key).build(task, 1).eval()
    outputs = network.predict(task.test)
    weights, bias = network.head.weight.detach(), network.head.bias.detach()
    for number in (0, 5):
        u, v = (
            network.encoder(make_batch(task.test.features.take(np.array([row])))).detach()[0]
            for row in (number, number + len(task.test))
        )
        seen = torch.tensor([*u, *v, *(abs(a - b) for a, b in zip(u, v, strict=True)), *(u * v)])
        assert outputs[number] == pytest.approx((weights @ seen + bias).numpy(), abs=1e-5)
    assert weights.shape == (2, 4 * WIDTH)


def test_networks_of_a_seed_start_alike(tasks):
    networks = {key: system_named(key).build(tasks[1], 3) for key in NETWORKS}
    table, head = networks["wave-modulation"].embedding.weight, networks["wave-modulation"].head
    assert table.std().item() == pytest.approx(0.1, rel=0.1)
    for key, network in networks.items():
        assert torch.equal(network.embedding.weight, table), key
        assert torch.equal(network.head.weight, head.weight), key
        rates = {m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)}
        assert rates <= {0.0, pairs.DROPOUT}
        assert network.dropout.p == pairs.DROPOUT
    sizes = {key: sum(p.numel() for p in networks[key].parameters()) for key in ("wave-modulation", *TWINS)}
    assert len(set(sizes.values())) == 1
    assert not torch.equal(system_named("real-means").build(tasks[1], 4).embedding.weight, table)


def loss_of(task, rows, outputs):
    """Cross-entropy of classes; of scores the mean squared error over the variance in training."""
    if task.has_scores:
        train = task.train.truth
        return np.mean((outputs[:, 0] - (rows.truth - train.mean()) / train.std()) ** 2)
    return -np.log(softmax(outputs, axis=1)[np.arange(len(rows)), rows.truth]).mean()


def with_classes(task):
    """A task whose pairs have a class instead: whether they share a fifth of their words."""
    splits = {name: getattr(task, name) for name in ("train", "validation", "test")}
    classes = {name: replace(rows, truth=(rows.truth > 0.2).astype(int)) for name, rows in splits.items()}
    return replace(task, label_names=("few", "many"), **classes)


@pytest.mark.parametrize("with_scores", [False, True])
def test_training_learns_repeats_and_ends_at_the_best_epoch(tasks, with_scores):
    task, system = tasks[1] if with_scores else with_classes(tasks[1]), system_named("wave-modulation")
    recipe = system.system.recipe.replace(lr=1e-2, embedding_lr=1e-2, batch_size=16, epochs=8)
    networks = [system.build(task, 0) for _ in range(2)]
    before = loss_of(task, task.train, networks[0].predict(task.train))
    runs = [train_pairs(network, task, recipe, 0, CallbackList(()), "cpu") for network in networks]
    assert runs[0] == runs[1]
    outputs = networks[0].predict(task.validation)
    assert np.array_equal(outputs, networks[1].predict(task.validation))
    best = runs[0][best_epoch(runs[0]) - 1]
    assert best["figure"] == max(epoch["figure"] for epoch in runs[0])
    assert figure_of(task, task.validation, outputs) == best["figure"]
    assert best["loss"] == pytest.approx(loss_of(task, task.validation, outputs), rel=1e-5)
    assert loss_of(task, task.train, networks[0].predict(task.train)) < 0.97 * before


def test_later_epochs_that_are_worse_leave_no_trace(tasks, monkeypatch):
    task, system = tasks[1], system_named("wave-modulation")
    figures = iter([0.2, 0.9, 0.5])
    monkeypatch.setattr(pair_network, "figure_of", lambda *_: next(figures))
    network = system.build(task, 0)
    epochs = train_pairs(network, task, system.system.recipe, 0, CallbackList(()), "cpu")
    losses = [epoch["loss"] for epoch in epochs]
    assert loss_of(task, task.validation, network.predict(task.validation)) == pytest.approx(losses[1])
    assert len(set(losses)) == 3


def test_the_best_epoch_has_the_best_figure_then_the_lower_loss_then_comes_first():
    epochs = [(0.7, 0.1), (0.8, 0.5), (0.8, 0.4), (0.8, 0.4)]
    assert best_epoch([{"figure": figure, "loss": loss} for figure, loss in epochs]) == 3


def test_every_pair_is_in_one_batch_of_similar_length():
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    batches, others = (_batches(lengths, 16, np.random.default_rng(seed)) for seed in (1, 2))
    assert sorted(np.concatenate(batches).tolist()) == list(range(1000))
    assert np.mean([np.ptp(lengths[batch]) for batch in batches]) < 25
    assert sorted({len(batch) for batch in batches}) == [8, 16]
    assert not np.array_equal(np.concatenate(batches), np.concatenate(others))


def test_the_miniature_is_complete_resumes_and_draws(splits, tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "QUICK_EPOCHS", 1)
    monkeypatch.setattr(pairs, "QUICK_WIDTH", WIDTH)
    options = Options(splits, quick=True)
    with pytest.raises(NotFinishedError):
        STUDY.measure(ResultStore(tmp_path, device="cpu", finished_only=True), options)
    document = STUDY.measure(ResultStore(tmp_path, device="cpu"), options)
    assert [task["key"] for task in document["tasks"]] == ["same-class", "shared-words"]
    for task in document["tasks"]:
        assert list(task["runs"]) == list(NETWORKS)
        assert all([run["seed"] for run in runs] == [0, 1] for runs in task["runs"].values())
    monkeypatch.setattr(pairs, "train_pairs", lambda *_, **__: pytest.fail("was done before"))
    assert STUDY.measure(ResultStore(tmp_path, device="cpu"), options) == document
    assert check_study(STUDY, document, ["pairs"]) == document
    next(tmp_path.glob("**/real-means-1-*.json")).unlink()
    partial = STUDY.measure(ResultStore(tmp_path, device="cpu", finished_only=True), options)
    (unfinished,) = partial["unfinished"]
    assert unfinished.startswith("real-means on ")
    assert unfinished in STUDY.tables(partial)[0].caption
    assert not any("real-means" in key for key in differences(partial))
    assert any("real-means" in key for key in differences_by_task(partial))


def test_sets_that_are_missing_are_left_out_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN2WAVE_DATA", str(tmp_path))
    document = STUDY.measure(ResultStore(None, device="cpu"), Options())
    assert document["tasks"] == []
    assert [sentence.partition(" ")[0] for sentence in document["left_out"]] == list(pairs.SETS)
    assert "stsb is left out" in STUDY.tables(document)[0].caption
    assert STUDY.drawings(document) == {}
    assert list(STUDY.claims(document)) == []


def test_baselines_come_from_training_pairs(tasks):
    same, shared = tasks
    frequent = np.bincount(same.train.truth).argmax()
    assert pairs._constant(same)["test"] == (same.test.truth == frequent).mean()
    assert pairs._constant(shared) == {"test": 0.0, "pearson": 0.0}
    assert pairs._tfidf(shared)["test"] > 0.5  # the target is the words that both texts have
    assert pairs._tfidf(shared)["pearson"] > 0.5
    classes = with_classes(shared)
    assert pairs._tfidf(classes)["test"] > pairs._constant(classes)["test"] + 0.1
    hidden = replace(classes, test=replace(classes.test, truth=1 - classes.test.truth))
    assert pairs._tfidf(hidden)["test"] == pytest.approx(1 - pairs._tfidf(classes)["test"])


def test_a_missing_package_leaves_its_baseline_out(splits, monkeypatch):
    monkeypatch.setattr(pairs, "make_systems", lambda *_: [system_named("real-means")])
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    document = STUDY.measure(ResultStore(None, device="cpu"), Options(splits, quick=True))
    assert [list(task["baselines"]) for task in document["tasks"]] == [["constant"]] * 2
    assert "TF-IDF on shared-words is left out" in STUDY.tables(document)[0].caption
    assert list(STUDY.drawings(document)) == ["pairs"]


def document_of(figures, n_pairs=1_500, n_seeds=5):
    """A set with classes and one with scores, whose networks have the figures 0 to 1 of both at all seeds.

    Wrong answers are nested, and networks of the same figure are the same, so that only figures tell.
    """
    generator = np.random.default_rng(0)
    order, truth = generator.permutation(n_pairs), generator.normal(size=n_pairs)
    noise, classes, scores = generator.normal(size=n_pairs), {}, {}
    for key, figure in figures.items():
        right = np.zeros(n_pairs, dtype=bool)
        right[order[: round(figure * n_pairs)]] = True
        predicted = figure * truth + np.sqrt(1 - figure**2) * noise
        rho = spearmanr(truth, predicted.astype(np.float32)).statistic
        seeds = range(n_seeds)
        size = {"parameters_without_embedding": 9}
        answers = {"test": right.mean(), "macro_f1": 0.5, "right": pack_answers(right), **size}
        numbers = {"test": rho, "pearson": figure, "ranks": pack_ranks(predicted), **size}
        classes[key] = [{"seed": seed, **answers} for seed in seeds]
        scores[key] = [{"seed": seed, **numbers} for seed in seeds]
    rows = {"train": 10, "validation": 5, "test": n_pairs}
    of_class = {"constant": {"test": 0.5, "macro_f1": 0.3}, "tfidf": {"test": 0.6, "macro_f1": 0.5}}
    of_score = {"constant": {"test": 0.0, "pearson": 0.0}, "tfidf": {"test": 0.5, "pearson": 0.5}}
    common = {"data": "made up", "rows": rows, "caveats": []}
    tasks = [
        {"key": "mrpc", "scores": False, "baselines": of_class, "runs": classes, **common},
        {"key": "stsb", "scores": True, "baselines": of_score, "runs": scores, **common},
    ]
    tasks[1]["truth"] = pack_ranks(truth)
    settings = {"epochs": 8, "width": 128, "seeds": list(range(n_seeds)), "left_out": [], "unfinished": []}
    return {**settings, "tasks": tasks}


def figures(wave, twin=0.7, transformer=0.7):
    values = {f"wave-{operation}": wave for operation in OPERATIONS}
    return values | dict.fromkeys(TWINS, twin) | dict.fromkeys(TRANSFORMERS, transformer)


@pytest.mark.parametrize(
    ("wave", "expected"), [(0.8, HOLDS), (0.7, SAME), (0.6, FAILS), (0.7005, SAME), (0.703, OPEN)]
)
def test_verdicts_follow_from_answers_and_scores(wave, expected):
    document = document_of(figures(wave))
    claims = list(STUDY.claims(document))
    assert [claim.verdict for claim in claims] == [expected] * 4
    lead = differences(document)["wave-modulation", "real-means"]
    assert f"{lead.mean:+.2f} points" in claims[0].evidence
    assert STUDY.tables(document)[1].rows[0][2:] == [str(lead), expected]


def test_twins_and_transformers_are_judged_apart_and_the_better_one_counts():
    document = document_of(figures(0.8, twin=0.8, transformer=0.6))
    verdicts = {claim.claim: claim.verdict for claim in STUDY.claims(document)}
    assert [verdict for claim, verdict in verdicts.items() if "real numbers" in claim] == [SAME, SAME]
    assert [verdict for claim, verdict in verdicts.items() if "Transformer" in claim] == [HOLDS, HOLDS]
    document = document_of(figures(0.7) | {"transformer-cls": 0.6, "transformer-mean": 0.8})
    verdicts = [claim.verdict for claim in STUDY.claims(document) if "Transformer" in claim.claim]
    assert verdicts == [FAILS, FAILS]


def test_the_mean_over_tasks_is_that_of_the_figures():
    document = document_of(figures(0.8, 0.7))
    lead = differences(document)["wave-modulation", "real-means"]
    points = [
        100 * (task["runs"]["wave-modulation"][0]["test"] - task["runs"]["real-means"][0]["test"])
        for task in document["tasks"]
    ]
    assert lead.mean == pytest.approx(np.mean(points), abs=1e-4)
    by_task = [
        lead.mean
        for key, lead in differences_by_task(document).items()
        if key[1:] == ("wave-modulation", "real-means")
    ]
    assert by_task == pytest.approx(points, abs=1e-4)
    other = document["tasks"][0] | {"data": "another"}
    apart = differences(document | {"tasks": [other, document["tasks"][1]]})["wave-modulation", "real-means"]
    assert apart.mean == pytest.approx(lead.mean)
    assert (lead.n_texts, apart.n_texts) == (1_500, 3_000)


def test_pairs_that_two_tasks_share_are_drawn_together():
    document = document_of(figures(0.8, 0.7))
    first = document["tasks"][0]
    twice = document | {"tasks": [first, first | {"key": "rte"}]}
    one = differences(document | {"tasks": [first]})["wave-modulation", "real-means"]
    both = differences(twice)["wave-modulation", "real-means"]
    assert both == pytest.approx(one, nan_ok=True)  # a task that says the same adds no certainty
    values = gains(first, "wave-modulation", "real-means")
    assert values.shape == (5, 1_500)
    assert values.mean() == pytest.approx(one.mean)


def test_four_seeds_cannot_tell():
    claims = list(STUDY.claims(document_of(figures(0.8), n_seeds=4)))
    assert {claim.verdict for claim in claims} == {OPEN}


def test_without_a_rival_nothing_is_judged():
    document = document_of({key: 0.8 for key in NETWORKS if key not in ("real-means", "transformer-mean")})
    assert list(STUDY.claims(document)) == []
    assert len(differences(document)) == 4
