"""The study of word order: its texts and networks, a miniature, and verdicts from made-up answers."""

import numpy as np
import pytest
import torch
from small_studies import check_study

from paper.result_store import NotFinishedError, ResultStore
from paper.statistics import pack_answers
from paper.studies import word_order
from paper.studies.word_order import (
    CONTRADICTIONS,
    STUDY,
    is_negated,
    join_pairs,
    make_corpus,
    shuffle_words,
)
from paper.studies.word_order_networks import OPERATIONS, SCALES, make_networks
from paper.studies.word_order_tables import best_placed, find_texts, gains_by_order, losses_by_shuffling
from paper.study import Options, load_study_data
from paper.verdicts import FAILS, HOLDS, OPEN, SAME
from token2wave.models import WaveNetwork, make_batch


@pytest.fixture(scope="module", autouse=True)
def _no_data_folder():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TOKEN2WAVE_DATA", raising=False)
        yield


# Texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it is not good", True),
        ("it does n't work", True),
        ("It DOESN'T work", True),
        ("without a doubt", True),
        ("another notable film", False),
        ("nothing", True),
        ("", False),
    ],
)
def test_negated_sentences_have_a_negator_as_a_word(text, expected):
    assert is_negated(text) == expected


def test_shuffled_texts_have_the_same_words_and_each_text_of_a_pair_its_own():
    texts = ["a b c d e f g", "one two three [SEP] four five six", ""]
    shuffled = shuffle_words(texts)
    assert shuffled == shuffle_words(texts)
    assert shuffled != shuffle_words(texts, seed=1)
    for text, other in zip(texts, shuffled, strict=True):
        for part, moved in zip(text.split(" [SEP] "), other.split(" [SEP] "), strict=True):
            assert sorted(part.split()) == sorted(moved.split())
    assert shuffled[0] != texts[0]


def test_pairs_become_one_text(tmp_path):
    for split, n_rows in (("train", 8), ("test", 4)):
        rows = [f"first {i},second {i},{'CONTRADICTION' if i % 2 else 'other'}" for i in range(n_rows)]
        (tmp_path / f"{split}.csv").write_text("\n".join(["text,text_pair,label", *rows]) + "\n")
    dataset = join_pairs(str(tmp_path))
    assert list(dataset.train.texts)[:2] == ["first 0 [SEP] second 0", "first 1 [SEP] second 1"]
    corpus = make_corpus(load_study_data(dataset), [], CONTRADICTIONS)
    mask = corpus.subsets[CONTRADICTIONS]
    labels = [corpus.data.texts.label_names[label] for label in corpus.data.test.labels]
    assert [label == "CONTRADICTION" for label in labels] == mask.tolist()


# Networks


def test_every_network_that_sees_order_has_a_reference_that_differs_in_that_alone():
    networks = {network.key: network for network in make_networks(16, 3)}
    assert len(networks) == 21
    for network in networks.values():
        assert (network.reference is None) == (network.order == "none")
        if network.reference is None:
            continue
        reference = networks[network.reference]
        names = {"neighbours": "context_width"}
        changed = {k for k, v in network.system.network.items() if reference.system.network.get(k) != v}
        assert changed == {names.get(network.order, "positions")}
        assert reference.multiplied == network.multiplied
        assert reference.system.recipe == network.system.recipe
    scales = {n.system.network.get("embedding_scale", 0.1) for n in networks.values()}
    assert scales == set(SCALES)
    assert len({str(network.settings()) for network in networks.values()}) == len(networks)
    assert len(make_networks(16, 3, OPERATIONS[:1])) == 9


@pytest.fixture(scope="module")
def corpus():
    import small_studies

    data = load_study_data(small_studies.splits(), train_rows=40, test_rows=24)
    return make_corpus(data, make_networks(16, 1))


@pytest.mark.parametrize("key", [network.key for network in make_networks(16, 1)])
def test_shuffling_changes_the_logits_of_networks_that_see_order_alone(corpus, key):
    (network,) = (network for network in corpus.networks if network.key == key)
    built = network.build(corpus.data, 0).double().eval()
    with torch.no_grad():
        logits, shuffled = (built(make_batch(t.features)) for t in (corpus.data.test, corpus.shuffled))
    difference = (logits - shuffled).abs().max(dim=1).values
    if network.order == "none":
        assert difference.max() < 1e-12
    else:
        assert difference.median() > 1e-6


def test_multiplied_embeddings_are_those_of_a_table_multiplied_by_hand(corpus):
    networks = {network.key: network for network in corpus.networks}
    multiplied = networks["modulation-multiplied-sinusoidal"].build(corpus.data, 3).double().eval()
    by_hand = networks["modulation-0.1-sinusoidal"].build(corpus.data, 3).double().eval()
    assert isinstance(by_hand, WaveNetwork)
    assert torch.equal(multiplied.embedding.weight, by_hand.embedding.weight)
    with torch.no_grad():
        by_hand.embedding.weight.mul_(4.0)  # the root of 16
        batch = make_batch(corpus.data.test.features)
        assert torch.allclose(multiplied(batch), by_hand(batch), atol=1e-12)


# The study


def test_the_miniature_is_complete_resumes_and_draws(splits, tmp_path, monkeypatch):
    options = Options(splits, quick=True)
    with pytest.raises(NotFinishedError):
        STUDY.measure(ResultStore(tmp_path, device="cpu", finished_only=True), options)
    document = STUDY.measure(ResultStore(tmp_path, device="cpu"), options)
    (corpus,) = document["corpora"]
    assert [network["key"] for network in corpus["networks"]] == [
        network.key for network in make_networks(16, 1, OPERATIONS[:1])
    ]
    for network in corpus["networks"]:
        assert [run["seed"] for run in network["runs"]] == [0, 1]
        for run in network["runs"]:
            assert network["order"] != "none" or run["right"] == run["right_shuffled"]
    monkeypatch.setattr(word_order, "train_and_answer", lambda *_, **__: pytest.fail("was done before"))
    assert STUDY.measure(ResultStore(tmp_path, device="cpu"), options) == document
    assert check_study(STUDY, document, ["word-order", "word-order-shuffled"]) == document
    next(tmp_path.glob("**/context-1-*.json")).unlink()
    partial = STUDY.measure(ResultStore(tmp_path, device="cpu", finished_only=True), options)
    assert partial["unfinished"] == ["context on topics"]
    assert "context on topics" in STUDY.tables(partial)[0].caption


def test_the_second_answers_are_those_to_the_shuffled_texts(corpus, monkeypatch):
    class Recorder:
        def build(self, *_):
            return self

        def settings(self):
            return {}

        def logits(self, features):
            assert features is corpus.shuffled.features
            wrong = corpus.data.test.labels == 0
            return np.eye(3)[np.where(wrong, 1, corpus.data.test.labels)]

    network = Recorder()
    network.system, network.key, network.title, network.order = corpus.networks[0].system, "k", "t", "none"
    monkeypatch.setattr(word_order, "train_and_answer", lambda *_: {})
    result = word_order._train(ResultStore(), corpus, network, 0)
    assert result == {"right_shuffled": pack_answers(corpus.data.test.labels != 0)}


def test_data_that_cannot_be_read_is_left_out(splits, monkeypatch):
    monkeypatch.setattr(word_order, "make_corpus", lambda data, *_: data.name)
    corpora, reasons = word_order.load_corpora(Options(splits))
    assert corpora == ["topics"]
    assert [reason.split(" is left out")[0] for reason in reasons] == ["sst2", "sick", "rte"]


# Verdicts


def network_of(key, accuracy, order="none", reference=None, n_texts=2_000, n_seeds=5, **more):
    right = np.arange(n_texts) < round(accuracy * n_texts)
    shuffled = np.arange(n_texts) < round(more.get("shuffled", accuracy) * n_texts)
    run = {"test_accuracy": accuracy, "validation_accuracy": more.get("validation", accuracy)}
    run |= {"right": pack_answers(right), "right_shuffled": pack_answers(shuffled)}
    entry = {"key": key, "title": key, "order": order, "reference": reference}
    return {**entry, "runs": [{"seed": seed, **run} for seed in range(n_seeds)]}


def document_of(data, figures, n_seeds=5, subsets=None):
    """A data set on which networks without and with positions have accuracies, by the key before these."""
    networks = []
    for key, (without, placed) in figures.items():
        networks.append(network_of(f"{key}-none", without, n_seeds=n_seeds))
        pair = "sinusoidal", f"{key}-none"
        networks.append(network_of(f"{key}-sinusoidal", placed, *pair, n_seeds=n_seeds))
    rows = {"train": 10, "validation": 5, "test": 2_000}
    packed = {name: pack_answers(mask) for name, mask in (subsets or {}).items()}
    corpus = {"data": data, "rows": rows, "subsets": packed, "networks": networks}
    settings = {"width": 8, "epochs": 1, "seeds": list(range(n_seeds)), "unfinished": []}
    return {"data": data, "rows": rows, "corpora": [corpus], **settings}


def verdicts_of(document):
    return {claim.claim: claim.verdict for claim in STUDY.claims(document)}


NEGATED = np.ones(2_000, dtype=bool)


@pytest.mark.parametrize(
    ("placed", "n_seeds", "expected"),
    [(0.85, 5, HOLDS), (0.80, 5, SAME), (0.75, 5, FAILS), (0.803, 5, OPEN), (0.85, 4, OPEN)],
)
def test_every_verdict_about_negated_sentences(placed, n_seeds, expected):
    figures = {"modulation-0.3": (0.8, placed)}
    document = document_of("sst2", figures, n_seeds, {"negated": NEGATED})
    assert next(iter(verdicts_of(document).values())) == expected
    assert verdicts_of(document_of("imdb", figures, n_seeds, {"negated": NEGATED})) == {}


def test_only_texts_of_the_subset_count():
    """All texts that positions get right beyond the others lie outside the subset."""
    figures = {"modulation-0.3": (0.8, 0.9)}
    inside = np.arange(2_000) < 1_600
    document = document_of("sst2", figures, subsets={"negated": inside})
    (gain,) = gains_by_order(find_texts(document, "sst2", "negated")).values()
    assert (gain.mean, gain.n_texts) == (0, 1_600)
    (whole,) = gains_by_order(find_texts(document, "sst2")).values()
    assert whole.mean == pytest.approx(10)


def test_validation_chooses_the_size_of_embeddings_with_and_without_positions():
    figures = {"modulation-0.1": (0.8, 0.9), "modulation-0.3": (0.8, 0.8), "modulation-1": (0.7, 0.1)}
    figures["modulation-multiplied"] = (0.6, 0.85)
    document = document_of("sst2", figures, subsets={"negated": NEGATED})
    corpus = document["corpora"][0]
    for network in corpus["networks"]:
        for run in network["runs"]:
            best = network["key"] in ("modulation-multiplied-sinusoidal", "modulation-1-none")
            run["validation_accuracy"] = 0.9 if best else 0.5
    best = best_placed(corpus, "modulation")
    assert best.n_comparisons == 4 + 4
    gains = best.gains(find_texts(document, "sst2"))
    assert {title: round(lead.mean) for title, lead in gains.items()} == {
        "the same embeddings without positions": 25,  # 0.85 over 0.6
        "the best embeddings without positions": 15,  # over 0.7
    }
    corpus["networks"][4]["runs"][0]["validation_accuracy"] = 0  # of modulation-1-none, another is better
    best = best_placed(corpus, "modulation")
    assert best.placed["key"] == "modulation-multiplied-sinusoidal"
    assert best_placed(corpus, "interference") is None


def test_one_comparison_where_the_same_embeddings_are_the_best():
    document = document_of("sst2", {"modulation-1": (0.7, 0.9)}, subsets={"negated": NEGATED})
    best = best_placed(document["corpora"][0], "modulation")
    assert list(best.gains(find_texts(document, "sst2"))) == [
        "the same embeddings, which are the best without positions"
    ]


@pytest.mark.parametrize(
    ("inside", "outside", "n_seeds", "expected"),
    [(20, 0, 5, HOLDS), (0, 0, 5, SAME), (0, 20, 5, FAILS), (20, 20, 5, OPEN), (20, 0, 4, OPEN)],
)
def test_every_verdict_about_negated_sentences_beside_others(inside, outside, n_seeds, expected):
    """Of 100 sentences of each kind, positions get so many right; nothing is right without."""
    document = document_of("sst2", {"modulation-0.3": (0, 0)}, n_seeds, {"negated": NEGATED})
    negated = np.arange(2_000) < 1_000
    document["corpora"][0]["subsets"]["negated"] = pack_answers(negated)
    for run in document["corpora"][0]["networks"][1]["runs"]:
        right = np.where(negated, np.arange(2_000) % 100 < inside, np.arange(2_000) % 100 < outside)
        run["right"] = pack_answers(right)
    claims = [c for c in STUDY.claims(document) if "more than the others" in c.claim]
    assert [claim.verdict for claim in claims] == [expected]


def test_the_excess_is_the_difference_of_both_gains():
    document = document_of("sst2", {"modulation-0.3": (0.25, 0.5)})
    document["corpora"][0]["subsets"]["negated"] = pack_answers(np.arange(2_000) < 600)
    best = best_placed(document["corpora"][0], "modulation")
    texts = find_texts(document, "sst2", "negated")
    excess = best.excess(texts)
    (own,), (others,) = (best.gains(each).values() for each in (texts, texts.others))
    assert excess.mean == pytest.approx(own.mean - others.mean)
    assert others.n_texts == 1_400
    # one network: only texts vary, and both groups are independent
    half = [lead.high - lead.mean for lead in (own, others)]
    assert excess.high - excess.mean == pytest.approx(np.hypot(*half), rel=0.02)


@pytest.mark.parametrize(
    ("small", "large", "cost", "vanishes"),
    [
        (0.70, 0.80, HOLDS, SAME),
        (0.70, 0.85, HOLDS, HOLDS),
        (0.70, 0.75, HOLDS, FAILS),
        (0.70, 0.798, HOLDS, OPEN),
        (0.80, 0.80, SAME, OPEN),
        (0.90, 0.80, FAILS, OPEN),
        (0.798, 0.80, OPEN, OPEN),
    ],
)
def test_every_verdict_about_the_cost_of_positions(small, large, cost, vanishes):
    figures = {"modulation-0.1": (0.8, small), "modulation-1": (0.8, large)}
    verdicts = list(verdicts_of(document_of("ag_news", figures)).values())
    assert verdicts == [cost, vanishes]


def test_shuffling_shows_what_a_network_uses():
    document = document_of("sst2", {"modulation-0.1": (0.8, 0.8)})
    networks = document["corpora"][0]["networks"]
    networks[1] = network_of("modulation-0.1-sinusoidal", 0.8, "sinusoidal", networks[0]["key"], shuffled=0.7)
    losses = losses_by_shuffling(find_texts(document, "sst2"))
    assert losses["modulation-0.1-none"].mean == 0
    assert losses["modulation-0.1-sinusoidal"].mean == pytest.approx(10)
    rows = STUDY.tables(document)[0].rows
    assert [row[-1] for row in rows] == ["-", HOLDS]
