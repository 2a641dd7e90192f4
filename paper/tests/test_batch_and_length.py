"""The study of batches and lengths: curves, costs, cut texts, a miniature, and every verdict."""

import numpy as np
import pytest
from small_studies import check_study

from paper import training_curves
from paper.result_store import NotFinishedError, ResultStore
from paper.statistics import Cost, pack_answers
from paper.studies import batch_and_length
from paper.studies.batch_and_length import STUDY
from paper.studies.batch_comparisons import judged_questions
from paper.studies.batch_settings import RULES, SYSTEMS, Setting, batch_settings, length_settings
from paper.study import Options
from paper.training_curves import cost_until, cut_texts, train_with_curve
from paper.verdicts import FAILS, HOLDS, OPEN, SAME
from token2wave.features import WordPieceFeatures
from token2wave.models import make_batch
from token2wave.training.loop import fit


def test_every_batch_rule_and_length_is_there_once():
    settings = [*batch_settings(), *length_settings()]
    assert len({setting.key for setting in settings}) == len(settings)
    waves = [setting for setting in batch_settings() if setting.system == "wave-interference"]
    assert {s.batch for s in waves if s.rule == "constant"} == {8, 32, 64, 128, 256, 1024}
    assert {(s.batch, s.rule) for s in waves} - {(s.batch, "constant") for s in waves} == {
        (batch, rule) for batch in (256, 1024) for rule in ("linear", "square root")
    }
    lengths = {s.length for s in length_settings() if s.system == "wave-modulation"}
    assert lengths == {32, 64, 128, 256, 512}
    assert {s.system for s in settings} == set(SYSTEMS)
    whole = [batch_and_length.TRAIN_ROWS % s.batch for s in batch_settings()]
    assert set(whole) == {0}


@pytest.mark.parametrize(("rule", "rate"), [("constant", 1e-3), ("square root", 4e-3), ("linear", 1.6e-2)])
def test_the_rate_follows_the_batch(rule, rate):
    for system in SYSTEMS:
        recipe = Setting(system, 1024, rule).to_train(128, 5).recipe
        assert recipe.lr == recipe.embedding_lr == pytest.approx(rate)
        assert (recipe.batch_size, recipe.epochs, recipe.decay, recipe.warmup) == (1024, 5, "constant", 0)
        assert Setting(system, 64, rule).rate_factor == 1
    assert set(RULES) == {"constant", "square root", "linear"}


def test_both_networks_start_from_the_same_spread_of_embeddings(splits):
    data = Options(splits).load(192, 30)
    for system in SYSTEMS:
        network = Setting(system).to_train(64, 1).build(data, 0)
        assert float(network.embedding.weight.detach().std()) == pytest.approx(0.1, rel=0.03)
    assert network.config.feed_forward == 4 * 64


def test_a_curve_counts_texts_steps_and_tokens_and_changes_nothing(splits, small, monkeypatch):
    """Against counts by hand, and against training that nothing watches."""
    data = Options(splits).load(160, 96)
    system = Setting("wave-modulation", 32).to_train(16, 2)
    monkeypatch.setattr(training_curves, "ROWS_ON_THE_WAY", 30)
    run = train_with_curve(ResultStore(), system, data, 3, 64)
    curve = run["curve"]
    assert curve["texts"] == [0, 64, 128, 192, 256, 320]
    assert curve["steps"] == [texts // 32 for texts in curve["texts"]]
    assert curve["tokens"][-1] == 2 * (len(data.train.features.ids) - 160)
    assert curve["seconds"] == sorted(curve["seconds"])
    assert curve["seconds"][0] == 0
    assert all(round(value * 30) == pytest.approx(value * 30) for value in curve["accuracy"])
    plain = system.build(data, 3)
    history = fit(plain, data.train, data.validation, system.recipe, seed=3, has_cls=True)
    right = plain.logits(data.test.features).argmax(axis=1) == data.test.labels
    assert run["right"] == pack_answers(right)
    assert run["best_epoch"] == history.best.epoch
    assert run["rate_factor"] == 1
    rows = training_curves._sample_rows(data.validation)
    last = training_curves.validate(plain, rows).accuracy
    assert run["best_epoch"] != 2 or curve["accuracy"][-1] == last


def test_time_of_validation_does_not_count(splits, small, monkeypatch):
    """A clock that only validation moves stands still in the curve."""
    clock = [0.0]
    validate, data = training_curves.validate, Options(splits).load(160, 96)

    def slow(*arguments):
        clock[0] += 100
        return validate(*arguments)

    class Clock:
        @staticmethod
        def perf_counter():
            return clock[0]

    monkeypatch.setattr(training_curves, "validate", slow)
    monkeypatch.setattr("token2wave.training.loop.validate", slow)
    monkeypatch.setattr(training_curves, "time", Clock)
    system = Setting("wave-modulation", 32).to_train(16, 3)
    assert set(train_with_curve(ResultStore(), system, data, 0, 64)["curve"]["seconds"]) == {0}


def test_a_run_that_diverged_begins_its_curve_again(splits, small):
    data = Options(splits).load(160, 96)
    system = Setting("wave-modulation", 32).to_train(16, 1)
    curve = training_curves._Curve(system.build(data, 0), data.validation, 64, 1)
    batch = make_batch(data.train.features.take(np.arange(32)))
    for _ in range(2):
        curve.on_stage("training", 5)
        curve.on_gradients(curve.network, batch)
        assert (curve.points["texts"], curve.texts, curve.steps) == ([0], 32, 1)
    run = {"curve": {"texts": [0, 10], "accuracy": [0.1, 0.9]}, "rate_factor": 0.1}
    assert cost_until(run, 0.5, "texts") == Cost(10, reached=False)


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        (0.5, Cost(100, True)),
        (0.6, Cost(150, True)),
        (0.7, Cost(200, True)),
        (0.75, Cost(375, True)),
        (0.81, Cost(400, False)),
        (0.1, Cost(100, True)),  # without a step nothing is reached
    ],
)
def test_costs_are_linear_between_two_points(accuracy, expected):
    """The accuracy falls in between; the first time counts."""
    curve = {"texts": [0, 100, 200, 300, 400], "accuracy": [0.2, 0.5, 0.7, 0.6, 0.8]}
    cost = cost_until({"curve": curve, "rate_factor": 1.0}, accuracy, "texts")
    assert cost == pytest.approx(expected)


@pytest.mark.parametrize("length", [3, 5, 8, 512])
def test_cut_texts_equal_encoding_again(splits, length):
    data = Options(splits).load(60, 30)
    cut = cut_texts(data, length)
    again = data.encode_with(WordPieceFeatures(cut.features.config, data.features.vocabulary))
    assert cut.features.config.max_tokens == length
    assert cut.settings["features"]["max_tokens"] == length
    for split in ("train", "validation", "test"):
        ours, theirs = getattr(cut, split).features, getattr(again, split).features
        for name in ("ids", "offsets", "n_ordered"):
            assert np.array_equal(getattr(ours, name), getattr(theirs, name))


def test_the_sample_of_validation_rows_is_not_the_beginning_of_the_file(splits, monkeypatch):
    data = Options(splits).load(192, 30)
    monkeypatch.setattr(training_curves, "ROWS_ON_THE_WAY", 10)
    rows = training_curves._sample_rows(data.validation)
    assert len(rows) == 10
    assert list(rows.texts) != list(data.validation.texts)[:10]


def test_the_miniature_is_complete_resumes_and_draws(splits, small, tmp_path, monkeypatch):
    options = Options(splits, quick=True)
    with pytest.raises(NotFinishedError):
        STUDY.measure(ResultStore(tmp_path, device="cpu", finished_only=True), options)
    document = STUDY.measure(ResultStore(tmp_path, device="cpu"), options)
    for part, settings in (("batch", batch_settings(quick=True)), ("length", length_settings(quick=True))):
        assert [network["key"] for network in document[part]["networks"]] == [s.key for s in settings]
        for network in document[part]["networks"]:
            assert [run["seed"] for run in network["runs"]] == [0, 1]
    short = [network for network in document["length"]["networks"] if network["length"] == 5]
    tokens = [run["curve"]["tokens"][-1] for run in short[0]["runs"]]
    assert set(tokens) == {2 * 192 * 4}  # two epochs of four tokens beside [CLS]
    with monkeypatch.context() as patch:
        patch.setattr(batch_and_length, "train_with_curve", lambda *_: pytest.fail("was done before"))
        assert STUDY.measure(ResultStore(tmp_path, device="cpu"), options) == document
    assert check_study(STUDY, document, ["batch-curves", "batch-costs", "length-curves"]) == document
    assert {claim.verdict for claim in STUDY.claims(document)} == {OPEN}
    next(tmp_path.glob("**/wave-modulation-128-linear-0-1-*.json")).unlink()
    partial = STUDY.measure(ResultStore(tmp_path, device="cpu", finished_only=True), options)
    assert partial["unfinished"] == ["batch wave-modulation-128-linear-0"]
    assert "batch wave-modulation-128-linear-0" in STUDY.tables(partial)[0].caption


def test_without_long_texts_the_batches_remain(splits, small, monkeypatch):
    document = STUDY.measure(ResultStore(device="cpu"), Options(splits, quick=True, seeds=(0,)))
    del document["length"]
    assert set(STUDY.drawings(document)) == {"batch-curves", "batch-costs"}
    assert len(STUDY.tables(document)) == 2
    assert judged_questions(document, "length") == []


def make_run(seed, texts_needed, right, tokens_per_text=10, batch=64):
    """A curve that reaches all accuracies at a number of texts, or never."""
    reached = texts_needed is not None
    texts = [0, (texts_needed or 5_000) - 1, texts_needed or 5_000]
    curve = {"texts": texts, "accuracy": [0.0, 0.0, 1.0 if reached else 0.0]}
    curve["tokens"] = [tokens_per_text * each for each in texts]
    curve["steps"] = [each / batch for each in texts]
    curve["seconds"] = [each / 1_000 for each in texts]
    accuracy = float(right.mean())
    return {"seed": seed, "curve": curve, "rate_factor": 1.0, "test_accuracy": accuracy} | {
        "right": pack_answers(right)
    }


def made_up(part, networks, n_seeds=5, n_texts=2_000):
    """Networks by settings, with the texts that seeds need, and an accuracy; wrong answers are nested."""
    order, made = np.random.default_rng(0).permutation(n_texts), []
    for settings, needed, accuracy in networks:
        right = np.zeros(n_texts, dtype=bool)
        right[order[: round(accuracy * n_texts)]] = True
        setting = Setting(**settings)
        factors = np.random.default_rng(len(made)).uniform(0.99, 1.01, n_seeds)
        runs = []
        for seed, factor in enumerate(factors):
            texts = needed[seed] if isinstance(needed, tuple) else needed
            texts = None if texts is None else round(texts * factor)
            runs.append(make_run(seed, texts, right, batch=setting.batch))
        made.append({"key": setting.key, **vars(setting), "rate_factor": setting.rate_factor, "runs": runs})
    compared = [1024, 64] if part == "batch" else [512, 128]
    rows = {"train": 10, "validation": 5, "test": n_texts}
    plan = {"epochs": 5, "interval": 1024, "accuracies": [0.8, 0.85], "compared": compared}
    settings = {"seeds": list(range(n_seeds)), "width": 128, "caveats": [], "unfinished": []}
    return {**settings, part: {"data": "tiny", "rows": rows, **plan, "networks": made}}


def verdict_of(document, beginning):
    (claim,) = [c for c in STUDY.claims(document) if c.claim.startswith(beginning)]
    return claim


@pytest.mark.parametrize(
    ("small_needs", "large_needs", "tokens", "steps"),
    [
        (1_000, 500, HOLDS, HOLDS),
        (1_000, 1_000, SAME, HOLDS),
        (1_000, 805, HOLDS, HOLDS),  # across the margin on the good side
        (1_000, 1_240, OPEN, HOLDS),  # across it on the bad side
        (1_000, 4_000, FAILS, HOLDS),
        (1_000, 16_000, FAILS, SAME),
        (1_000, 30_000, FAILS, FAILS),
        (1_000, (1_000, 1_000, 1_000, 1_000, 4_000), OPEN, HOLDS),
        (1_000, (900, 900, 900, 900, None), OPEN, OPEN),  # the one that did not get there is not left out
        (1_000, None, FAILS, OPEN),  # at least five times as many tokens; fewer steps, but who knows how many
        (None, 1_000, HOLDS, HOLDS),
        (None, None, OPEN, OPEN),
    ],
)
def test_verdicts_of_batches_follow_from_costs(small_needs, large_needs, tokens, steps):
    wave = {"system": "wave-modulation"}
    networks = [(wave | {"batch": 64}, small_needs, 0.9), (wave | {"batch": 1024}, large_needs, 0.9)]
    document = made_up("batch", networks)
    assert verdict_of(document, "A batch of 1,024 takes at most a quarter more tokens").verdict == tokens
    assert verdict_of(document, "A batch of 1,024 saves more than a fifth of the steps").verdict == steps
    assert verdict_of(document, "A batch of 1,024 loses no accuracy").verdict == SAME
    four = made_up("batch", [*networks[:1], (networks[1][0], 500, 0.9)], n_seeds=4)
    assert {claim.verdict for claim in STUDY.claims(four)} == {OPEN}


@pytest.mark.parametrize(
    ("accuracy", "no_loss", "better"),
    [
        (0.9, SAME, SAME),
        (0.95, HOLDS, HOLDS),
        (0.86, FAILS, FAILS),
        (0.903, HOLDS, OPEN),
        (0.897, OPEN, FAILS),
    ],
)
def test_verdicts_of_accuracy_follow_from_answers(accuracy, no_loss, better):
    wave = {"system": "wave-interference"}
    networks = [(wave | {"batch": 64}, 1_000, 0.9), (wave | {"batch": 1024}, 1_000, accuracy)]
    claim = verdict_of(made_up("batch", networks), "A batch of 1,024 loses no accuracy")
    assert claim.verdict == no_loss
    assert f"{100 * (accuracy - 0.9):+.2f} points" in claim.evidence
    networks = [(wave | {"length": 128}, 1_000, 0.9), (wave | {"length": 512}, 1_000, accuracy)]
    document = made_up("length", networks)
    assert verdict_of(document, "Texts of up to 512 tokens give a better accuracy").verdict == better
    assert verdict_of(document, "Texts of up to 512 tokens save more than").verdict == SAME


@pytest.mark.parametrize(
    ("wave", "expected"), [(500, HOLDS), (2_000, FAILS), (1_000, SAME), ((500, 500, 500, 500, 3_000), OPEN)]
)
def test_waves_beside_the_transformer(wave, expected):
    for part, setting in (("batch", {"batch": 64}), ("length", {"length": 512})):
        networks = [({"system": "wave-modulation"} | setting, wave, 0.9)]
        networks.append(({"system": "transformer"} | setting, 1_000, 0.9))
        assert verdict_of(made_up(part, networks), "Wave saves more than a fifth").verdict == expected


def test_a_claim_needs_both_operations():
    networks = [
        ({"system": f"wave-{operation}", "batch": batch}, needs, 0.9)
        for operation, batch, needs in (
            ("modulation", 64, 1_000),
            ("modulation", 1024, 500),
            ("interference", 64, 1_000),
            ("interference", 1024, 4_000),
        )
    ]
    document = made_up("batch", networks)
    assert verdict_of(document, "A batch of 1,024 takes at most a quarter more tokens").verdict == FAILS
    compared = STUDY.tables(document)[1].rows
    verdicts = [row[-1] for row in compared if row[0].startswith("A batch of 1,024 takes at most")]
    assert verdicts == [HOLDS, FAILS]


def test_more_comparisons_widen_the_intervals():
    wave = {"system": "wave-modulation"}
    networks = [(wave | {"batch": 64}, 1_000, 0.9), (wave | {"batch": 1024}, 1_000, 0.9)]
    few = judged_questions(made_up("batch", networks), "batch")[0].differences["wave-modulation"]
    networks += [(each | {"system": "wave-interference"}, 1_000, 0.9) for each, *_ in networks]
    many = judged_questions(made_up("batch", networks), "batch")[0].differences["wave-modulation"]
    assert many.low < few.low < few.high < many.high


def test_medians_count_runs_that_did_not_get_there():
    wave = {"system": "wave-modulation"}
    needed = (6_000, 6_000, 8_000, None, None)  # the last two stop at 5,000, and may need any more
    networks = [(wave, needed, 0.9), (wave | {"batch": 1024}, (1_000, None, None, None, None), 0.9)]
    networks.append((wave | {"batch": 8}, None, 0.9))
    rows = {row[1]: row for row in STUDY.tables(made_up("batch", networks))[0].rows}
    assert rows["64"][4].endswith("(3 of 5)")
    assert 79_000 < float(rows["64"][4].split()[0].replace(",", "")) < 81_000
    assert rows["1,024"][4].startswith("> 50,000 (1 of 5)")
    assert rows["8"][4].startswith("> 50,000 (0 of 5)")
