"""One random case: a model file, possibly damaged, and operations on it, as plain data.

    {"recipe": {...}, "edits": [[kind, ...], ...], "operations": [[name, ...], ...]}

``texts.py`` defines how texts are written, ``models.py`` recipes, ``damage.py`` edits. :func:`run` raises for
a finding: an exception that is not documented, or :class:`WrongAnswerError`.
"""

from __future__ import annotations

import io
import json
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from rich.console import Console

import token2wave
from fuzzing.checks import WrongAnswerError, check, check_twins, native_core, twin_of, without_torch
from fuzzing.damage import Edit, apply_edits, random_edits
from fuzzing.models import classifier_of, has_ordinary_numbers, model_bytes, random_recipe
from fuzzing.texts import Text, decode_text, random_text, very_long_text
from token2wave import Classifier, Token2WaveError
from token2wave.explanation import explanation_page, print_explanation
from token2wave.inference.state import State, whole_words

Case = dict[str, Any]
DOCUMENTED = (Token2WaveError, MemoryError)
TOLERANCE = 1e-5
UNITS = ("token", "word", "sentence")
LONG, VERY_LONG = 1 << 14, 1 << 18  # characters; the second where memory does not grow with the text
NOT_STRINGS: dict[str, Any] = {
    "nothing": None,
    "number": 3,
    "fraction": 1.5,
    "bytes": b"good",
    "buffer": memoryview(b"good"),
    "list": ["good"],
    "tuple": ("good",),
    "type": str,
    "array": np.array(["good"]),
}
METHODS = "probabilities labels predict batch update remove explain unpack window alone".split()


def run(case: Case, natively: bool) -> bool:
    """Load the model of a case and ask what the case asks.

    Args:
        case: what to do.
        natively: compute in the native core rather than in numpy.

    Returns:
        Whether the model file was accepted.

    Raises:
        Exception: a finding.
    """
    raw = apply_edits(model_bytes(case["recipe"]), case["edits"])
    with native_core(natively), np.errstate(all="ignore"), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_bytes(raw)
        try:
            with without_torch():
                classifier = token2wave.load(path)
        except DOCUMENTED as error:
            overflows = "finite probabilities" in str(error)  # whole, but with weights that cannot predict
            check(case["edits"] != [] or overflows, f"a whole file was refused: {error}")
            check(isinstance(error, MemoryError) or "\n" not in str(error), "a message of several lines")
            return False
        for name, *arguments in case["operations"]:
            with suppress(*DOCUMENTED):
                OPERATIONS[name](classifier, *arguments)
    return True


# ---- operations ----


def _probabilities(classifier: Classifier, texts: list[Text], times: int) -> None:
    probabilities = classifier.probabilities(_decode(texts) * times)
    _check_probabilities(classifier, probabilities, len(texts) * times)
    if not _is_native(classifier):  # numpy multiplies matrices of another size in another order
        return
    first = np.tile(probabilities[: len(texts)], (times, 1))
    check(np.array_equal(probabilities, first, equal_nan=True), "one text has two answers")


def _labels(classifier: Classifier, texts: list[Text], times: int) -> None:
    labels = classifier.labels(_decode(texts) * times)
    check(len(labels) == len(texts) * times and {*labels} <= {*classifier.label_names}, f"labels {labels}")


def _predict(classifier: Classifier, text: Text, top_k: int) -> None:
    _check_prediction(classifier, classifier.predict(decode_text(text), top_k), top_k)


def _predict_batch(classifier: Classifier, texts: list[Text], top_k: int) -> None:
    progress: list[int] = []
    for prediction in classifier.predict_batch(_decode(texts), top_k, progress.append):
        _check_prediction(classifier, prediction, top_k)
    check(sum(progress) == len(texts), f"progress of {progress}")


def _explain(classifier: Classifier, text: Text, unit: str) -> None:
    decoded = decode_text(text)
    explanation = classifier.explain(decoded, unit)
    json.dumps(explanation.to_dict(), allow_nan=False)
    check(explanation.label in classifier.label_names, f"label {explanation.label!r}")
    explanation.strongest(classifier.label_names[-1])
    explanation_page([explanation, explanation], decoded[:100]).encode()
    for settings in ({}, {"force_terminal": True, "color_system": "truecolor", "width": 40}):
        print_explanation(explanation, Console(file=io.StringIO(), **settings))


def _save(classifier: Classifier) -> None:
    """A model that was accepted can be saved, and what is saved is accepted."""
    with tempfile.TemporaryDirectory() as folder:
        classifier.save(Path(folder) / "model")
        try:
            loaded = token2wave.load(Path(folder) / "model")
        except Token2WaveError as error:
            raise WrongAnswerError(f"a saved model is refused: {error}") from error
        texts = ["good don't", "", "bad film 中文"]
        pair = [model.probabilities(texts) for model in (loaded, classifier)]
        check(np.array_equal(*pair, equal_nan=True), "a saved model predicts otherwise")
        check(loaded.fingerprint == classifier.fingerprint, "a saved model has another fingerprint")


def _threads(classifier: Classifier, texts: list[Text], n_threads: int) -> None:
    """Several threads use one classifier."""
    decoded = _decode(texts)
    outcomes: list[Any] = []

    def predict() -> None:
        with np.errstate(all="ignore"):
            try:
                outcomes.append(classifier.probabilities(decoded))
            except BaseException as error:  # raised again below
                outcomes.append(error)

    threads = [threading.Thread(target=predict) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        check(np.array_equal(outcome, outcomes[0], equal_nan=True), "threads got different answers")


def _not_a_string(classifier: Classifier, method: str, name: str) -> None:
    """A method gets a value that is no string."""
    value = NOT_STRINGS[name]
    state = classifier.state().update("good film")
    calls: dict[str, Callable[[], object]] = {
        "probabilities": lambda: classifier.probabilities(["good", value, "bad"]),
        "labels": lambda: classifier.label_sets([value]),
        "predict": lambda: classifier.predict(value),
        "batch": lambda: classifier.predict_batch(["good"] * 40 + [value]),
        "update": lambda: state.update(value),
        "remove": lambda: state.remove(value),
        "explain": lambda: classifier.explain(value),
        "unpack": lambda: classifier.state_from_bytes(value),
        "window": lambda: classifier.window(3).update(value),
        "alone": lambda: classifier.probabilities("good"),
    }
    try:
        calls[method]()
    except TypeError:
        return
    except Token2WaveError:
        check(method == "unpack", f"{method} refuses {name}, but not with a TypeError")
        return
    raise WrongAnswerError(f"{method} accepted {name}")


def _window(classifier: Classifier, n_tokens: int, texts: list[Text]) -> None:
    window = classifier.window(n_tokens)
    for text in texts:
        _check_prediction(classifier, window.update(decode_text(text)).predict(), 1)
        check(window.state.n_tokens <= n_tokens, "a window grew")


def _stream(classifier: Classifier, removable: list[bool], steps: list[list[Any]]) -> None:
    """Two states grow, merge and remove words."""
    states = [classifier.state(flag) for flag in removable]
    for name, index, *arguments in steps:
        with suppress(*DOCUMENTED):
            states[index] = _step(classifier, states, name, index, *arguments)
        _check_prediction(classifier, states[index].predict(3), 3)
        check(states[index].n_tokens >= 0, "a negative number of tokens")


def _step(classifier: Classifier, states: list[State], name: str, index: int, *arguments: Any) -> State:
    state = states[index]
    match name:
        case "update":
            return state.update(decode_text(arguments[0]))
        case "chunks":
            chunks = _decode(arguments[0])
            passages = [*whole_words(chunks)]
            check("".join(passages) == "".join(chunks), "chunks were lost")
            for passage in passages:
                state.update(passage)
            return state
        case "merge":
            return state.merge(states[arguments[0]])
        case "remove":
            return state.remove(decode_text(arguments[0]))
        case "remove_first":
            return state.remove_first(arguments[0])
        case _:  # pack
            return classifier.state_from_bytes(state.to_bytes())


def _damaged_state(classifier: Classifier, removable: bool, texts: list[Text], edits: list[Edit]) -> None:
    """A damaged packed state is refused, or it can be used."""
    state = classifier.state(removable)
    for text in _decode(texts):
        state.update(text)
    damaged = classifier.state_from_bytes(apply_edits(state.to_bytes(), edits))
    uses: list[Callable[[], object]] = [
        damaged.predict,
        lambda: damaged.update("good don't 中文"),
        lambda: damaged.merge(state),
        lambda: damaged.remove("don't"),
        lambda: damaged.remove_first(2),
        lambda: damaged.remove_first(1 << 40),
        lambda: damaged.merge(damaged),
        lambda: classifier.state_from_bytes(damaged.to_bytes()),
        lambda: classifier.state(removable).update("a").merge(damaged),
        lambda: _check_prediction(classifier, damaged.predict(2), 2),
    ]
    for use in uses:
        with suppress(*DOCUMENTED):
            use()


def _agree(classifier: Classifier, texts: list[Text]) -> None:
    """The native core and numpy agree, and so do a whole text and its state built in passages."""
    decoded = _decode(texts)
    twin = twin_of(classifier, natively=True)
    with native_core(True):
        native, known = twin.probabilities_and_known(decoded)
        if _is_native(twin):
            alone = [twin.probabilities([text])[0] for text in decoded]
            check(np.array_equal(native, alone), "a text depends on its neighbours in the batch")
    twin = twin_of(classifier, natively=False)
    with native_core(False):
        in_numpy, known_in_numpy = twin.probabilities_and_known(decoded)
        _check_close(native, in_numpy, "the native core and numpy differ")
        check(np.array_equal(known, known_in_numpy), "the native core and numpy know other texts")
    indices = [classifier.label_names.index(label) for label in classifier.labels(decoded)]
    best = classifier.probabilities(decoded).argmax(axis=1).tolist()
    check(indices == best, "labels are not the most probable")
    if classifier.features.type_name != "words":
        return
    joined = classifier.probabilities([" ".join(decoded)])[0]
    states = [classifier.state(True), classifier.state(False)]
    for text in decoded:
        for state in states:
            state.update(text)
    for state in states:
        _check_close(state.probabilities(), joined, "a state and its text differ")
    if not _has_far_context(classifier.network.config.to_dict()):  # an explanation would take minutes
        passage = " ".join(decoded)[:1000]
        explained = np.array(classifier.explain(passage).probabilities)
        _check_close(explained, classifier.probabilities([passage])[0], "an explanation differs")


def _twins(classifier: Classifier, texts: list[Text]) -> None:
    check_twins(classifier, _decode(texts))


def _decode(texts: list[Text]) -> list[str]:
    return [decode_text(text) for text in texts]


def _is_native(classifier: Classifier) -> bool:
    return bool(getattr(classifier.network, "runs_natively", False))


def _check_close(values: Any, expected: Any, message: str) -> None:
    difference = float(np.abs(values - expected).max(initial=0.0))
    check(difference <= TOLERANCE, f"{message}, by {difference:.2g}")


def _check_probabilities(classifier: Classifier, probabilities: Any, n_texts: int) -> None:
    check(probabilities.shape == (n_texts, len(classifier.label_names)), f"shape {probabilities.shape}")
    check(probabilities.dtype == np.float32, f"probabilities of type {probabilities.dtype}")
    sums = probabilities[np.isfinite(probabilities).all(axis=1)].sum(axis=1)
    sums_to_one = bool((np.abs(sums - 1) < 1e-4).all())
    check(classifier.multi_label or sums_to_one, "probabilities do not sum to one")
    check(not (probabilities < 0).any(), "a negative probability")


def _check_prediction(classifier: Classifier, prediction: Any, top_k: int) -> None:
    names = [name for name, _ in prediction.top]
    check(len(names) == min(max(top_k, 1), len(classifier.label_names)), f"{len(names)} of {top_k} classes")
    check(len({*names}) == len(names) and {*names} <= {*classifier.label_names}, f"classes {names}")
    check(prediction.label == names[0], f"label {prediction.label!r} of {names}")


OPERATIONS: dict[str, Callable[..., None]] = {
    "probabilities": _probabilities,
    "labels": _labels,
    "predict": _predict,
    "predict_batch": _predict_batch,
    "explain": _explain,
    "save": _save,
    "threads": _threads,
    "not_a_string": _not_a_string,
    "window": _window,
    "stream": _stream,
    "damaged_state": _damaged_state,
    "agree": _agree,
    "twins": _twins,
}


# ---- random cases ----


def random_case(rng: Random, corpus: list[Case]) -> Case:
    """Draw a case, now and then a variation of one of the corpus."""
    origin = rng.choice(corpus) if corpus and rng.random() < 0.2 else None
    recipe = origin["recipe"] if origin else random_recipe(rng)
    edits = list(origin["edits"]) if origin else []
    if rng.random() < 0.7:
        edits += random_edits(rng, model_bytes(recipe), edits)
    operations = list(origin["operations"]) if origin and rng.random() < 0.5 else []
    operations += [_random_operation(rng, recipe) for _ in range(rng.randint(1, 4))]
    if edits or not has_ordinary_numbers(recipe):  # each engine may then overflow in its own way
        operations = [operation for operation in operations if operation[0] != "agree"]
        operations.append(["twins", _random_texts(rng, 6, 300)])
    else:
        operations.append(["agree", _random_texts(rng, 12, 2000)])
    return {"recipe": recipe, "edits": edits, "operations": operations}


def _has_far_context(network: dict[str, Any]) -> bool:
    """Whether each word has many neighbours in its context."""
    return bool(network["context_width"]) and network["context_radius"] > 3


def _random_operation(rng: Random, recipe: dict[str, Any]) -> list[Any]:
    name = rng.choice((*OPERATIONS, "probabilities", "damaged_state", "damaged_state"))
    words = recipe["features"]["kind"] == "words"
    network = recipe["network"]
    is_bounded = words and not network["context_width"] and network["width"] % 8 == 0  # in memory
    longest = LONG // 16 if _has_far_context(network) else LONG
    match name:
        case "probabilities" | "labels":
            if rng.random() < 0.02:
                return [name, [very_long_text(rng) if is_bounded else random_text(rng, VERY_LONG)], 1]
            times = rng.choice((1, 1, 1, 1, 2, 40, 700, 9000 if words else 70))
            if times < 40:
                return [name, _random_texts(rng, 20, longest), times]
            return [name, _random_texts(rng, 3, max(4, 20_000 // times)), times]
        case "predict":
            return [name, random_text(rng, longest), rng.choice((1, 1, 2, 5, 0, -1, 10**9, 1 << 70))]
        case "predict_batch":
            return [name, _random_texts(rng, 40, 300), rng.choice((1, 2, 50))]
        case "explain":
            return [name, random_text(rng, 300), rng.choice(UNITS)]
        case "save":
            return [name]
        case "threads":
            return [name, _random_texts(rng, 40, 300), rng.choice((2, 3))]
        case "not_a_string":
            return [name, rng.choice(METHODS), rng.choice(tuple(NOT_STRINGS))]
        case "window":
            return [name, rng.choice((1, 2, 3, 7, 64, 100, 10**9)), _random_texts(rng, 6, 600)]
        case "stream":
            removable = [rng.random() < 0.7, rng.random() < 0.7]
            return [name, removable, [_random_step(rng) for _ in range(rng.randint(1, 10))]]
        case "damaged_state":
            texts = _random_texts(rng, 3, 300)
            is_removable = rng.random() < 0.6
            return [name, is_removable, texts, random_edits(rng, _state_bytes(recipe, is_removable, texts))]
        case _:
            return ["predict", [], 1]


def _random_step(rng: Random) -> list[Any]:
    name = rng.choice(("update", "update", "chunks", "merge", "remove", "remove_first", "pack"))
    index = rng.randrange(2)
    match name:
        case "update" | "remove":
            return [name, index, random_text(rng, 600 if name == "update" else 10)]
        case "chunks":
            return [name, index, _random_texts(rng, 5, 60)]
        case "merge":
            return [name, index, rng.randrange(2)]
        case "remove_first":
            return [name, index, rng.choice((0, 1, 2, 5, 63, 64, 65, 300, -1, 10**9, 1 << 70))]
        case _:
            return [name, index]


def _state_bytes(recipe: dict[str, Any], removable: bool, texts: list[Text]) -> bytes:
    """A packed state for edits to start from; the case packs its own from the model that it loads."""
    with native_core(True), np.errstate(all="ignore"):
        state = classifier_of(recipe).state(removable)
        for text in _decode(texts):
            state.update(text)
        return state.to_bytes()


def _random_texts(rng: Random, most: int, longest: int) -> list[Text]:
    return [random_text(rng, longest) for _ in range(rng.randint(1, most))]
