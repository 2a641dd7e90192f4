"""Generated tasks: their classes derived again; networks built by hand that solve them; the study."""

import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from small_studies import check_study, ragged

from paper import result_store as store
from paper.result_store import NotFinishedError, ResultStore
from paper.statistics import pack_answers
from paper.studies import probe_networks, probes
from paper.studies import probe_tasks as tasks
from paper.studies.probe_networks import (
    SYSTEMS,
    Stage,
    blind_to_order,
    build,
    make_splits,
    train_growing,
    train_on,
)
from paper.studies.probe_tasks import (
    CLS,
    FIRST_FILLER,
    MIN_LENGTH,
    N_ROWS,
    NEGATOR,
    A,
    B,
    decided_by_neighbours,
)
from paper.studies.probes import STAGES, STUDY, Effort, stages_of
from paper.study import Options
from paper.verdicts import FAILS, HOLDS, OPEN
from token2wave.errors import ConfigError
from token2wave.models import WaveConfig, WaveNetwork, make_batch
from token2wave.models.wave_network import sinusoids
from token2wave.training.examples import Examples
from token2wave.training.validation import validate

TASKS = [make() for make in (tasks.presence, tasks.counting, tasks.order, tasks.negation)]
TASKS += [*map(tasks.distance, (2, 16, 64)), *map(tasks.long_range, (16, 64))]


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch):
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)


def key_of(thing):
    return thing.key


def texts_of(examples):
    """Lists of ids, with their classes."""
    ids = examples.features.ids.tolist()
    texts = [ids[first:last] for first, last in pairwise(examples.features.offsets.tolist())]
    return list(zip(texts, examples.labels.tolist(), strict=True))


# The tasks


def slow_label(key, tokens):
    """The class of a text, from the words of the task."""
    n_a, n_b = tokens.count(A), tokens.count(B)
    if key == "presence":
        assert (n_a, n_b) in ((0, 0), (1, 0))
        return int(n_a == 1)
    if key == "counting":
        assert min(n_a, n_b) >= 1
        assert abs(n_a - n_b) in (1, 2)
        return int(n_a > n_b)
    assert n_a == n_b == 1
    if key == "order":
        return int(tokens.index(A) < tokens.index(B))
    if key.startswith("long-range"):
        first, last = sorted((tokens.index(A), tokens.index(B)))
        assert last - first > len(tokens) / 4
        assert first >= len(tokens) / 8
        assert last < 7 * len(tokens) / 8
        return int(tokens[first] == A)
    if key.startswith("distance"):
        assert tokens[0] in (A, B)
        return int(tokens[0] == A)
    assert key == "negation"
    assert tokens.count(NEGATOR) == 1
    feeling, negated = 0, False
    for token in tokens:
        value = {A: 1, B: -1}.get(token, 0)
        feeling += -value if negated else value
        negated = token == NEGATOR
    assert feeling in (-2, 2)
    return int(feeling == 2)


@pytest.mark.parametrize("task", TASKS, ids=key_of)
def test_the_classes_are_what_the_words_of_the_task_say(task):
    examples = task.texts(400, 3)
    texts = texts_of(examples)
    assert [slow_label(task.key, tokens[1:]) for tokens, _ in texts] == [label for _, label in texts]
    assert examples.labels.sum() == 200
    markers = {A, B, NEGATOR}
    for tokens, _ in texts:
        assert tokens[0] == CLS
        assert all(FIRST_FILLER <= token < N_ROWS or token in markers for token in tokens[1:])
    assert examples.features.n_ordered.tolist() == examples.features.lengths.tolist()
    lengths = set((examples.features.lengths - 1).tolist())
    assert lengths == ({task.length} if task.length else set(range(MIN_LENGTH, tasks.MAX_LENGTH + 1)))


@pytest.mark.parametrize("task", TASKS, ids=key_of)
def test_a_seed_decides_the_texts_and_both_classes_hold_the_same_bags_of_words(task):
    """So whatever a function of the bag of words answers, it is right on exactly half of the texts."""
    examples, same, other = (task.texts(1000, seed) for seed in ((7, 0), (7, 0), (7, 1)))
    assert texts_of(examples) == texts_of(same)
    assert task.key == "distance-2" or texts_of(examples) != texts_of(other)
    bags = [Counter(), Counter()]
    for tokens, label in texts_of(examples):
        if task.key == "counting":  # what occurs says nothing there: A and B always do
            tokens = [A if token == B else token for token in tokens]
        bags[label][tuple(sorted(tokens))] += 1
    assert (bags[0] == bags[1]) == (task.key != "presence")


def test_the_marked_places_are_spread_evenly():
    """Every pair of places is as likely as every other, at the ends of the text too."""
    examples = tasks.order().texts(20_000, 1)
    of_one_length = [tokens for tokens, _ in texts_of(examples) if len(tokens) == MIN_LENGTH + 1]
    counts = Counter(at for tokens in of_one_length for at in (tokens.index(A), tokens.index(B)))
    expected = 2 * len(of_one_length) / MIN_LENGTH
    assert set(counts) == set(range(1, MIN_LENGTH + 1))
    assert all(abs(count - expected) < 6 * expected**0.5 for count in counts.values())


def test_an_odd_number_of_texts_is_refused():
    with pytest.raises(ConfigError, match="even number of texts, at least 2, found 3"):
        tasks.presence().texts(3, 0)


# Networks that are built by hand


def zeroed(**settings):
    """A network whose weights are all zero, but for the norms."""
    network = WaveNetwork(WaveConfig(n_rows=N_ROWS, n_classes=2, dropout=0.0, **settings)).double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm.weight" not in name:
                parameter.zero_()
    return network


def accuracy_of(network, examples):
    return validate(network, examples)[1]


@pytest.mark.parametrize("operation", ["interference", "modulation"])
def test_presence_is_solved_by_a_dimension_in_which_only_a_has_energy(operation):
    network = zeroed(width=2, operation=operation)
    layer = network.layers[0]
    with torch.no_grad():
        network.embedding.weight[A, 0] = 1.0
        layer.variants.weight[0, 0] = layer.variants.weight[2, 0] = 1.0  # both variants are w
        # Interference has 2 s in its imaginary part, modulation -s^2 in its real part: 0 without A.
        column, sign = (2, 1.0) if operation == "interference" else (0, -1.0)
        layer.restore.linear.weight[0, column] = sign
        layer.restore.linear.weight[1, column] = -sign
        layer.restore.linear.bias.copy_(torch.tensor([-0.5, 0.5]))
        network.head.weight[1, 0] = 1.0
    examples = tasks.presence().texts(1000, 2)
    assert accuracy_of(network, examples) == 1.0
    with torch.no_grad():
        network.embedding.weight[A, 0] = 0.0
    assert accuracy_of(network, examples) == 0.5


def test_order_is_solved_by_the_middle_term_of_positions_in_one_layer():
    """With A at +a and B at -a in a dimension with positions p: E = 2 a^2 + 2 a (p[A] - p[B]) + sum p^2."""
    size = 1000.0
    network = zeroed(width=8, operation="interference", positions="sinusoidal")
    layer = network.layers[0]
    slow = 4  # sin(place / 100), which rises all along these texts
    with torch.no_grad():
        network.embedding.weight[A, slow], network.embedding.weight[B, slow] = size, -size
        layer.variants.weight[0, slow] = 1.0
        layer.restore.linear.weight[0, 8] = 1.0  # the imaginary part: the root of the energy
        layer.restore.linear.weight[1, 8] = -1.0
        threshold = (2 * size**2 + 0.6) ** 0.5  # sum p^2 is about 0.6, and 1.2 at most
        layer.restore.linear.bias[0], layer.restore.linear.bias[1] = -threshold, threshold
        network.head.weight[0, 0] = 1.0
    examples = tasks.order().texts(1000, 2)
    assert accuracy_of(network, examples) == 1.0
    blind = WaveNetwork(network.config.replace(positions="none")).double()
    blind.load_state_dict(network.state_dict())
    assert accuracy_of(blind, examples) == 0.5


def test_relations_in_4096_tokens_are_solved_by_weights_set_by_hand_in_one_layer():
    """So where training fails, it is not for want of such weights; the width is that of the study."""
    size, slow = 1000.0, 30  # sin(place / 5,623), which rises all along these texts
    network = zeroed(width=probe_networks.WIDTH, operation="interference", positions="sinusoidal")
    layer, width = network.layers[0], probe_networks.WIDTH
    with torch.no_grad():
        network.embedding.weight[A, slow], network.embedding.weight[B, slow] = size, -size
        layer.variants.weight[0, slow] = 1.0
        layer.restore.linear.weight[0, width], layer.restore.linear.weight[1, width] = 1.0, -1.0
        places = torch.arange(4097, dtype=torch.float64)
        threshold = (2 * size**2 + (places / 10_000 ** (slow / width)).sin().square().sum()) ** 0.5
        layer.restore.linear.bias[0], layer.restore.linear.bias[1] = -threshold, threshold
        network.head.weight[0, 0] = 1.0
    assert accuracy_of(network, tasks.long_range(4096).texts(40, 2)) == 1.0
    with torch.no_grad():
        network.embedding.weight[A, slow] = -size
    assert accuracy_of(network, tasks.long_range(4096).texts(40, 2)) == 0.5


def test_positions_differ_at_all_places_of_the_longest_texts():
    """The distance of two places depends on their difference alone: that to the first shows them all."""
    like = torch.zeros(1, probe_networks.WIDTH)
    n_places = probe_networks.MAX_LENGTH + 1
    encoded = sinusoids(torch.tensor([0, n_places]), n_places, like)
    assert (encoded[1:] - encoded[0]).norm(dim=1).min() > 0.9
    shifted = (encoded[1500:] - encoded[1499]).norm(dim=1)
    assert torch.allclose(shifted, (encoded[1:] - encoded[0]).norm(dim=1)[: len(shifted)], atol=1e-4)


def test_negation_is_solved_by_a_context_level_that_sees_one_neighbour():
    """A state is on where the token is B and the magnitude to its left is the negator's."""
    width, negated = 4, 2
    network = zeroed(width=width, operation="interference", context_width=width, context_radius=1)
    context = network.context
    with torch.no_grad():
        network.embedding.weight[A, 0] = network.embedding.weight[B, 1] = 1.0
        network.embedding.weight[NEGATOR, negated] = 1.0
        context.variants.weight[:width] = torch.eye(width)  # the first variant is w, the second nothing
        # Normed, both together give 3.5, either alone at most 2.3.
        context.linear.weight[0, 1] = context.linear.weight[0, width + negated] = 10.0
        context.linear.bias[0] = -29.0
        context.head.weight[1, 0] = 1000.0
        context.head.bias[0] = 1.0
    examples = tasks.negation().texts(1000, 2)
    assert accuracy_of(network, examples) == 1.0
    with torch.no_grad():
        network.embedding.weight[NEGATOR] = 0.0
    assert accuracy_of(network, examples) == 0.5


# What networks can see


def exact_logits(network, features):
    with torch.no_grad():
        return network.double().eval()(make_batch(features))


@pytest.mark.parametrize("system", SYSTEMS, ids=key_of)
def test_a_text_and_its_reversal_are_the_same_to_networks_that_are_blind_to_order_alone(system):
    texts = [tokens for tokens, _ in texts_of(tasks.negation().texts(20, 4))]
    network = build(system, 0)
    logits = exact_logits(network, ragged(texts))
    turned = exact_logits(network, ragged([[tokens[0], *tokens[:0:-1]] for tokens in texts]))
    difference = (logits - turned).abs().max(dim=1).values
    if blind_to_order(system):
        assert difference.max() < 1e-12
    else:
        assert difference.min() > 1e-6
    assert blind_to_order(system) == (system.key in ("wave-modulation", "wave-interference", "transformer"))


@pytest.mark.parametrize("system", [s for s in SYSTEMS if blind_to_order(s)], ids=key_of)
@pytest.mark.parametrize(
    "task", [tasks.order(), tasks.negation(), tasks.distance(16), tasks.long_range(16)], ids=key_of
)
def test_networks_that_are_blind_to_order_are_right_on_half_of_the_texts(system, task):
    examples = task.texts(400, 6)
    assert accuracy_of(build(system, 1).double(), examples) == 0.5


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_neighbours_tell_the_order_exactly_where_it_is_said_that_they_do(radius):
    """Among fillers that are all the same, A and B can change places unseen."""
    length = 6 * radius + 3
    torch.manual_seed(0)
    shape = {"width": 6, "context_width": 5, "context_radius": radius, "dropout": 0.0}
    network = WaveNetwork(WaveConfig(N_ROWS, 2, **shape))
    pairs = [(a, b) for a in range(1, length + 1) for b in range(1, length + 1) if a < b]

    def text(a, b):
        tokens = [CLS] + [FIRST_FILLER] * length
        tokens[a], tokens[b] = A, B
        return tokens

    texts, twins = ragged([text(a, b) for a, b in pairs]), ragged([text(b, a) for a, b in pairs])
    differ = (exact_logits(network, texts) - exact_logits(network, twins)).abs().max(dim=1).values > 1e-10
    decided = decided_by_neighbours(Examples(texts, np.zeros(len(pairs), dtype=np.int64)), radius)
    assert differ.tolist() == decided.tolist()
    assert 0 < (~decided).sum() < len(pairs)


# The study

TINY_STAGES = (Stage(16, (100, 40, 40), 2, 64, 3e-3), Stage(64, (60, 20, 30), 2, 32, 1e-3))
TINY = Effort((100, 40, 40), epochs=2, rates=(1e-3, 3e-3), stages=TINY_STAGES)


def test_training_solves_what_can_be_solved_and_then_stops():
    splits = make_splits(tasks.presence(), (1_000, 200, 200))
    recipe = probe_networks.RECIPE.replace(epochs=20, batch_size=32, lr=1e-2, embedding_lr=1e-2)
    result = train_on(SYSTEMS[0], splits, recipe, 0, ResultStore())
    assert result["validation_accuracy"] >= probe_networks.SOLVED
    assert result["test_accuracy"] >= 0.99
    assert result["epochs"] < 20


def test_a_seed_decides_the_result():
    splits = make_splits(tasks.order(), (200, 40, 40))
    results = [train_on(SYSTEMS[3], splits, probe_networks.RECIPE, seed, ResultStore()) for seed in (0, 0, 1)]
    assert results[0] == results[1]
    assert results[0]["validation_loss"] != results[2]["validation_loss"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "QUICK", TINY)
        patch.setattr(probes, "SYSTEMS", (SYSTEMS[0], SYSTEMS[6]))
        patch.setattr(store, "find_commit", lambda: None)  # it asks git, for every unit
        document = STUDY.measure(ResultStore(folder), Options(quick=True))
        again = ResultStore(folder)
        patch.setattr(probes, "train_on", lambda *_: pytest.fail("was done before"))
        patch.setattr(probes, "train_growing", lambda *_: pytest.fail("was done before"))
        assert STUDY.measure(again, Options(quick=True)) == document
        assert all(name.startswith("probes/") for name in again.made)
    return json.loads(json.dumps(document))


def test_the_rate_is_chosen_by_validation_texts(monkeypatch):
    """The run with the better validation accuracy is kept, though the other is better on test texts."""

    def trained(system, splits, recipe, seed, store):
        names = ("test_accuracy", "validation_accuracy", "validation_loss", "epochs")
        figures = (0.4, 0.8, 0.2, 1) if recipe.lr == 1e-3 else (0.9, 0.7, 0.1, 1)
        return dict(zip(names, figures, strict=True))

    def grown(system, make_task, stages, seed, store):
        return [{"validation_accuracy": 0.5} for _ in stages]

    monkeypatch.setattr(probes, "Effort", lambda: TINY)
    monkeypatch.setattr(probes, "train_on", trained)
    monkeypatch.setattr(probes, "train_growing", grown)
    monkeypatch.setattr(probes, "SYSTEMS", SYSTEMS[:1])
    monkeypatch.setattr(store, "find_commit", lambda: None)
    results = ResultStore()
    document = STUDY.measure(results, Options(seeds=(4, 5)))
    (result,) = (result for result in document["results"] if result["task"] == "presence")
    assert result["rate"] == 1e-3
    assert [run["test_accuracy"] for run in result["runs"]] == [0.4, 0.4]
    names = [name for name in results.made if name.startswith("probes/presence/wave-modulation-0.")]
    assert names == [f"probes/presence/wave-modulation-{run}" for run in ("0.001-4", "0.003-4", "0.001-5")]


def test_the_document_holds_every_system_on_every_task(measured):
    results = {(result["task"], result["system"]): result for result in measured["results"]}
    assert len(results) == 8 * 2
    for task in ("order", "negation", "distance-16", "distance-64", "long-range-16", "long-range-64"):
        blind = results[task, "wave-modulation"]
        assert [(run["test_accuracy"], run["epochs"]) for run in blind["runs"]] == [
            (0.5, int("64" not in task))
        ]
    assert "seconds" not in json.dumps(measured)


def test_tables_show_mean_and_deviation_in_per_cent(measured):
    document = json.loads(json.dumps(measured))
    document["seeds"] = [0, 1, 2]
    for result in document["results"]:
        result["runs"] = [{**result["runs"][0], "test_accuracy": value} for value in (0.9, 0.95, 1.0)]
    by_task, by_length, by_range, budgets = STUDY.tables(document)
    assert by_task.head == ["System", "Presence", "Counting", "Order", "Negation"]
    assert by_length.head == by_range.head == ["System", "16 tokens", "64 tokens"]
    assert by_task.rows[0] == ["Wave, modulation", *["95.0 ± 5.0 ?"] * 2, *["95.0 ± 5.0"] * 2]
    assert budgets.rows[4][:5] == ["Distance, 16 tokens", "100", "40", "64", "2"]
    assert budgets.rows[5][:5] == ["Distance, 64 tokens", "60", "30", "32", "2"]
    assert "0.003; 1.0" in budgets.rows[4]
    assert by_task.rows[-1][1:] == ["100", "100", "50", "50"]
    assert "over 3 seeds" in by_task.caption


def test_tables_of_a_single_seed_have_no_deviation(measured):
    by_task, by_length, _, _ = STUDY.tables(measured)
    assert by_task.rows[0][3:] == by_length.rows[0][1:] == ["50.0", "50.0"]


def test_figures_are_drawn_from_the_document_alone(measured):
    check_study(STUDY, measured, ["probes-tasks", "probes-distance"])
    drawn = STUDY.drawings(measured)
    assert all("a single seed" in drawing.caption for drawing in drawn.values())
    axes, _ = drawn["probes-distance"].figure.axes
    (blind,) = (line for line in axes.lines if line.get_label() == "the three without positions or context")
    assert blind.get_xdata().tolist() == [16, 64]
    assert blind.get_ydata().tolist() == [50, 50]


def test_one_network_grows_from_length_to_length(monkeypatch):
    """The second stage starts from the weights of the first, and differs from a network that has none."""
    results = train_growing(SYSTEMS[3], tasks.long_range, TINY_STAGES, 0, ResultStore())
    assert results == train_growing(SYSTEMS[3], tasks.long_range, TINY_STAGES, 0, ResultStore())
    monkeypatch.setattr(probe_networks, "GUESSED", 0.0)
    grown = train_growing(SYSTEMS[3], tasks.long_range, TINY_STAGES, 0, ResultStore())
    alone = train_growing(SYSTEMS[3], tasks.long_range, TINY_STAGES[1:], 0, ResultStore())
    assert grown[0] == results[0]
    assert grown[1]["epochs"] > 0
    assert grown[1]["validation_loss"] != alone[0]["validation_loss"]


def test_texts_longer_than_those_that_were_not_learnt_are_answered_without_training(monkeypatch):
    monkeypatch.setattr(probe_networks, "GUESSED", 1.1)
    first, second = train_growing(SYSTEMS[3], tasks.distance, TINY_STAGES, 0, ResultStore())
    assert (first["epochs"] > 0, second["epochs"]) == (True, 0)


def test_each_system_takes_the_stages_that_it_can_learn_from():
    modulation, two_layers, context, transformer = (SYSTEMS[i] for i in (3, 5, 6, 7))
    for system in (modulation, transformer):
        assert stages_of(system, "long-range", STAGES) == STAGES
    assert [stage.length for stage in STAGES] == [2**power for power in range(4, 13)]
    assert [stage.length for stage in stages_of(two_layers, "distance", STAGES)] == [16, 32, 64]
    assert [stage.length for stage in stages_of(context, "distance", STAGES)] == [16, 32, 64, 128, 256]
    for stage in stages_of(SYSTEMS[0], "distance", STAGES):
        assert stage.epochs == 1
    undecided = ~decided_by_neighbours(tasks.long_range(64).texts(200, 1), probe_networks.RADIUS)
    assert undecided.all()  # so the context branch sees nothing from there on


def test_what_is_not_finished_is_named_and_left_out(measured, tmp_path, monkeypatch):
    monkeypatch.setattr(probes, "QUICK", TINY)
    monkeypatch.setattr(probes, "SYSTEMS", SYSTEMS[:1])
    monkeypatch.setattr(store, "find_commit", lambda: None)
    with pytest.raises(NotFinishedError):
        STUDY.measure(ResultStore(tmp_path, finished_only=True), Options(quick=True))
    STUDY.measure(ResultStore(tmp_path), Options(quick=True))
    for path in tmp_path.glob("probes/distance/*"):
        path.unlink()
    partial = STUDY.measure(ResultStore(tmp_path, finished_only=True), Options(quick=True))
    assert partial["unfinished"] == ["distance of wave-modulation"]
    *_, by_range, budgets = STUDY.tables(partial)
    assert "distance of wave-modulation" in budgets.caption
    assert by_range.rows[0] == ["Wave, modulation", "50.0", "50.0"]


# Verdicts


def document_of(figures, n_seeds=5, n_texts=1_000):
    """A document in which a task's systems are right on a part of the texts, the same for every seed."""
    keys = list(dict.fromkeys(system for _, system in figures))
    systems = [{"key": key, "title": key, "blind": key == "wave-modulation"} for key in keys]
    lengths = {task: int(task.rsplit("-", 1)[1]) if "-" in task else None for task, _ in figures}
    named = [
        {"key": task, "length": length, "rows": [10, 10, n_texts], "bag_of_words": 0.5}
        for task, length in lengths.items()
    ]
    results = []
    for (task, system), accuracy in figures.items():
        right = np.arange(n_texts) < round(accuracy * n_texts)
        runs = [{"test_accuracy": accuracy, "right": pack_answers(right)}] * n_seeds
        results.append({"task": task, "system": system, "runs": runs})
    return {"tasks": named, "systems": systems, "results": results}


def verdicts_of(document):
    return {claim.claim: claim.verdict for claim in STUDY.claims(document)}


@pytest.mark.parametrize(
    ("accuracy", "n_seeds", "expected"),
    [(0.99, 5, HOLDS), (0.5, 5, FAILS), (0.95, 5, OPEN), (0.99, 4, OPEN), (0.5, 4, OPEN)],
)
def test_every_verdict_about_what_networks_can_see(accuracy, n_seeds, expected):
    figures = {("order", "wave-modulation"): 0.5, ("order", "wave-positions"): accuracy}
    (verdict,) = verdicts_of(document_of(figures, n_seeds)).values()
    assert verdict == expected


def test_one_network_is_enough_and_only_the_failure_of_all_is_a_failure():
    names = ("wave-modulation-positions", "wave-interference-positions", "wave-context", "transformer")
    for figures, expected in (
        ((0.5, 0.99, 0.5, 0.5), HOLDS),
        ((0.99, 0.5, 0.5, 0.5), HOLDS),
        ((0.95, 0.5, 0.5, 0.5), OPEN),
        ((0.5, 0.6, 0.99, 0.99), FAILS),
        ((0.5, 0.95, 0.99, 0.99), OPEN),
    ):
        pairs = {("negation", name): figure for name, figure in zip(names, figures, strict=True)}
        (claim,) = STUDY.claims(document_of(pairs))
        assert claim.verdict == expected
        assert "wave-context" in claim.evidence


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ((0.99, 0.99, 0.99, 0.7), {"64": HOLDS, "128": HOLDS, "256": FAILS}),
        ((0.99, 0.95, 0.7, 0.99), {"64": OPEN, "128": FAILS, "256": HOLDS}),
        ((0.7, 0.99, 0.99, 0.99), {"64": HOLDS, "128": HOLDS, "256": HOLDS}),
    ],
)
def test_claims_are_of_the_longest_texts_whatever_they_show(accuracies, expected):
    pairs = zip((16, 64, 128, 256), accuracies, strict=True)
    document = document_of({(f"long-range-{n}", "wave-positions"): value for n, value in pairs})
    verdicts = verdicts_of(document)
    begin = "With positions, a Wave network learns to relate two tokens far apart in"
    end = "on generated texts and the study's budget (open question)"
    assert verdicts == {f"{begin} {n} tokens, {end}": verdict for n, verdict in expected.items()}
