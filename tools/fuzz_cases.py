"""One case of the fuzzer: a model file, perhaps damaged, and what is asked of it, as plain data.

    {"recipe": {...}, "edits": [[kind, ...], ...], "operations": [[name, ...], ...]}

Texts are written as :mod:`fuzz_texts` says, recipes and edits as :mod:`fuzz_models` does. What goes wrong
comes out of :func:`run` as an exception: one that is not documented there, or :class:`Wrong`.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from fuzz_models import Edit, classifier_of, damaged, file_of, is_ordinary, random_edits, random_recipe
from fuzz_texts import Text, random_text, text_of, very_long_text
from rich.console import Console

import token2wave
from token2wave import Classifier, Token2WaveError
from token2wave.explanation import explanation_page, print_explanation
from token2wave.inference.state import State, whole_words

Case = dict[str, Any]
DOCUMENTED = (Token2WaveError, MemoryError)
CLOSE = 1e-5
UNITS = ("token", "word", "sentence")
LONG, VERY_LONG = 1 << 14, 1 << 18  # characters; the second where memory does not grow with the text
NO_STRINGS: dict[str, Any] = {
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
ASKED = (
    "probabilities",
    "labels",
    "predict",
    "batch",
    "update",
    "remove",
    "explain",
    "unpack",
    "window",
    "alone",
)


class Wrong(Exception):  # noqa: N818 - it is not an error of the fuzzer
    """An answer that cannot be right."""


def check(condition: bool, message: str) -> None:
    """Report a wrong answer.

    Raises:
        Wrong: the condition does not hold.
    """
    if not condition:
        raise Wrong(message)


@contextmanager
def computed(natively: bool) -> Iterator[None]:
    """Compute in the native core, or in numpy."""
    before = os.environ.get("TOKEN2WAVE_NATIVE")
    os.environ["TOKEN2WAVE_NATIVE"] = "1" if natively else "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKEN2WAVE_NATIVE"]
        else:
            os.environ["TOKEN2WAVE_NATIVE"] = before


@contextmanager
def without_torch() -> Iterator[None]:
    """Hide torch: networks that need it are none of the fuzzer's, and say so when they are loaded."""
    missing = object()
    before = sys.modules.get("torch", missing)
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torch"]
        if before is not missing:
            sys.modules["torch"] = before  # type: ignore[assignment]


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
    raw = damaged(file_of(case["recipe"]), case["edits"])
    with computed(natively), np.errstate(all="ignore"), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_bytes(raw)
        try:
            with without_torch():
                classifier = token2wave.load(path)
        except DOCUMENTED as error:
            check(case["edits"] != [], f"a whole file was refused: {error}")
            check(isinstance(error, MemoryError) or "\n" not in str(error), "a message of several lines")
            return False
        for name, *arguments in case["operations"]:
            with suppress(*DOCUMENTED):
                OPERATIONS[name](classifier, *arguments)
    return True


# ---- operations ----


def _probabilities(classifier: Classifier, texts: list[Text], times: int) -> None:
    found = classifier.probabilities([text_of(text) for text in texts] * times)
    _check_shares(classifier, found, len(texts) * times)
    first = found[: len(texts)]
    if not _is_native(classifier):  # numpy multiplies matrices of other sizes in another order
        return
    check(np.array_equal(found, np.tile(first, (times, 1)), equal_nan=True), "a text differs from itself")


def _labels(classifier: Classifier, texts: list[Text], times: int) -> None:
    found = classifier.labels([text_of(text) for text in texts] * times)
    check(len(found) == len(texts) * times and {*found} <= {*classifier.label_names}, f"labels {found}")


def _predict(classifier: Classifier, text: Text, top_k: int) -> None:
    _check_prediction(classifier, classifier.predict(text_of(text), top_k), top_k)


def _predict_batch(classifier: Classifier, texts: list[Text], top_k: int) -> None:
    advanced: list[int] = []
    for prediction in classifier.predict_batch([text_of(text) for text in texts], top_k, advanced.append):
        _check_prediction(classifier, prediction, top_k)
    check(sum(advanced) == len(texts), f"progress of {advanced}")


def _explain(classifier: Classifier, text: Text, unit: str) -> None:
    whole = text_of(text)
    explanation = classifier.explain(whole, unit)
    json.dumps(explanation.to_dict(), allow_nan=False)
    check(explanation.label in classifier.label_names, f"label {explanation.label!r}")
    explanation.strongest(classifier.label_names[-1])
    explanation_page([explanation, explanation], whole[:100]).encode()
    for settings in ({}, {"force_terminal": True, "color_system": "truecolor", "width": 40}):
        print_explanation(explanation, Console(file=io.StringIO(), **settings))


def _save(classifier: Classifier) -> None:
    """A model that was accepted can be written, and what is written is accepted."""
    with tempfile.TemporaryDirectory() as folder:
        classifier.save(Path(folder) / "model")
        try:
            again = token2wave.load(Path(folder) / "model")
        except Token2WaveError as error:
            raise Wrong(f"what was saved is refused: {error}") from error
        texts = ["good don't", "", "bad film 中文"]
        same = np.array_equal(again.probabilities(texts), classifier.probabilities(texts), equal_nan=True)
        check(same, "what was saved predicts otherwise")
        check(again.fingerprint == classifier.fingerprint, "what was saved has another fingerprint")


def _at_once(classifier: Classifier, texts: list[Text], n_threads: int) -> None:
    """Several threads ask one classifier."""
    whole = [text_of(text) for text in texts]
    found: list[Any] = []

    def ask() -> None:
        with np.errstate(all="ignore"):
            try:
                found.append(classifier.probabilities(whole))
            except BaseException as error:  # it is raised again below
                found.append(error)

    threads = [threading.Thread(target=ask) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in found:
        if isinstance(one, BaseException):
            raise one
        check(np.array_equal(one, found[0], equal_nan=True), "threads got different answers")


def _odd(classifier: Classifier, asked: str, value: str) -> None:
    """Something that is no string."""
    odd = NO_STRINGS[value]
    state = classifier.state().update("good film")
    ask: dict[str, Callable[[], object]] = {
        "probabilities": lambda: classifier.probabilities(["good", odd, "bad"]),
        "labels": lambda: classifier.labels([odd]),
        "predict": lambda: classifier.predict(odd),
        "batch": lambda: classifier.predict_batch(["good"] * 40 + [odd]),
        "update": lambda: state.update(odd),
        "remove": lambda: state.remove(odd),
        "explain": lambda: classifier.explain(odd),
        "unpack": lambda: classifier.state_from_bytes(odd),
        "window": lambda: classifier.window(3).update(odd),
        "alone": lambda: classifier.probabilities("good"),
    }
    try:
        ask[asked]()
    except TypeError:
        return
    except Token2WaveError:
        check(asked == "unpack", f"{value} for {asked} is refused, but not as what it is")
        return
    raise Wrong(f"{value} was taken for {asked}")


def _window(classifier: Classifier, n_tokens: int, texts: list[Text]) -> None:
    window = classifier.window(n_tokens)
    for text in texts:
        _check_prediction(classifier, window.update(text_of(text)).predict(), 1)
        check(window.state.n_tokens <= n_tokens, "a window grew")


def _stream(classifier: Classifier, removable: list[bool], steps: list[list[Any]]) -> None:
    """Two states that grow, merge, and give words back."""
    states = [classifier.state(one) for one in removable]
    for name, which, *arguments in steps:
        with suppress(*DOCUMENTED):
            states[which] = _step(classifier, states, name, which, *arguments)
        _check_prediction(classifier, states[which].predict(3), 3)
        check(states[which].n_tokens >= 0, "fewer than no tokens")


def _step(classifier: Classifier, states: list[State], name: str, which: int, *arguments: Any) -> State:
    state = states[which]
    match name:
        case "update":
            return state.update(text_of(arguments[0]))
        case "chunks":
            chunks = [text_of(text) for text in arguments[0]]
            passages = [*whole_words(chunks)]
            check("".join(passages) == "".join(chunks), "chunks were lost")
            for passage in passages:
                state.update(passage)
            return state
        case "merge":
            return state.merge(states[arguments[0]])
        case "remove":
            return state.remove(text_of(arguments[0]))
        case "remove_first":
            return state.remove_first(arguments[0])
        case _:  # pack
            packed = state.to_bytes()
            return classifier.state_from_bytes(packed)


def _damaged_state(classifier: Classifier, removable: bool, texts: list[Text], edits: list[Edit]) -> None:
    """A packed state that is damaged is refused, or one that can be used."""
    state = classifier.state(removable)
    for text in texts:
        state.update(text_of(text))
    packed = damaged(state.to_bytes(), edits)
    found = classifier.state_from_bytes(packed)
    uses: list[Callable[[], object]] = [
        found.predict,
        lambda: found.update("good don't 中文"),
        lambda: found.merge(state),
        lambda: found.remove("don't"),
        lambda: found.remove_first(2),
        lambda: found.remove_first(1 << 40),
        lambda: found.merge(found),
        lambda: classifier.state_from_bytes(found.to_bytes()),
        lambda: classifier.state(removable).update("a").merge(found),
        lambda: _check_prediction(classifier, found.predict(2), 2),
    ]
    for use in uses:
        with suppress(*DOCUMENTED):
            use()


def _agree(classifier: Classifier, texts: list[Text]) -> None:
    """The native core says what numpy says, and a text says in passages what it says as a whole."""
    whole = [text_of(text) for text in texts]
    with computed(natively=True):
        found = classifier.probabilities(whole)
        alone = [classifier.probabilities([text])[0] for text in whole]
        if _is_native(classifier):
            check(np.array_equal(found, alone), "a text depends on those beside it")
    with computed(natively=False):
        slow = classifier.probabilities(whole)
    _check_close(found, slow, "the native core and numpy differ")
    predicted = [classifier.label_names.index(label) for label in classifier.labels(whole)]
    check(
        predicted == classifier.probabilities(whole).argmax(axis=1).tolist(),
        "labels are not the most probable",
    )
    if classifier.features.kind == "words":
        together = classifier.probabilities([" ".join(whole)])[0]
        states = [classifier.state(True), classifier.state(False)]
        for text in whole:
            for state in states:
                state.update(text)
        for state in states:
            _check_close(state.probabilities(), together, "a state and its text differ")
        if not _sees_far(classifier.network.config.to_dict()):  # else to explain takes minutes
            part = " ".join(whole)[:1000]
            explained = np.array(classifier.explain(part).probabilities)
            _check_close(explained, classifier.probabilities([part])[0], "an explanation differs")


def _is_native(classifier: Classifier) -> bool:
    return bool(getattr(classifier.network, "runs_natively", False))


def _check_close(found: Any, expected: Any, message: str) -> None:
    difference = float(np.abs(found - expected).max(initial=0.0))
    check(difference <= CLOSE, f"{message}, by {difference:.2g}")


def _check_shares(classifier: Classifier, found: Any, n_texts: int) -> None:
    check(found.shape == (n_texts, len(classifier.label_names)), f"shape {found.shape}")
    check(found.dtype == np.float32, f"numbers of type {found.dtype}")
    sums = found[np.isfinite(found).all(axis=1)].sum(axis=1)
    check(bool((np.abs(sums - 1) < 1e-4).all()) and not (found < 0).any(), "probabilities do not sum to one")


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
    "at_once": _at_once,
    "odd": _odd,
    "window": _window,
    "stream": _stream,
    "damaged_state": _damaged_state,
    "agree": _agree,
}


# ---- drawing ----


def random_case(chance: Random, corpus: list[Case]) -> Case:
    """Draw a case, now and then from one of the corpus."""
    known = chance.choice(corpus) if corpus and chance.random() < 0.2 else None
    recipe = known["recipe"] if known else random_recipe(chance)
    edits = list(known["edits"]) if known else []
    if chance.random() < 0.7:
        edits += random_edits(chance, file_of(recipe), edits)
    operations = list(known["operations"]) if known and chance.random() < 0.5 else []
    operations += [_random_operation(chance, recipe) for _ in range(chance.randint(1, 4))]
    if edits or not is_ordinary(recipe):  # numbers may then overflow, each way in its own
        operations = [operation for operation in operations if operation[0] != "agree"]
    else:
        operations.append(["agree", _random_texts(chance, 12, 2000)])
    return {"recipe": recipe, "edits": edits, "operations": operations}


def _sees_far(network: dict[str, Any]) -> bool:
    """Whether each word has many neighbours to look at."""
    return bool(network["context_width"]) and network["context_radius"] > 3


def _random_operation(chance: Random, recipe: dict[str, Any]) -> list[Any]:
    name = chance.choice((*OPERATIONS, "probabilities", "damaged_state", "damaged_state"))
    words = recipe["features"]["kind"] == "words"
    network = recipe["network"]
    far = _sees_far(network)
    bounded = (
        words and not network["context_width"] and network["width"] % 8 == 0
    )  # memory, whatever the text
    longest = LONG // 16 if far else LONG
    match name:
        case "probabilities" | "labels":
            if chance.random() < 0.02:
                return [name, [very_long_text(chance) if bounded else random_text(chance, VERY_LONG)], 1]
            times = chance.choice((1, 1, 1, 1, 2, 40, 700, 9000 if words else 70))
            if times < 40:
                return [name, _random_texts(chance, 20, longest), times]
            return [name, _random_texts(chance, 3, max(4, 20_000 // times)), times]
        case "predict":
            return [name, random_text(chance, longest), chance.choice((1, 1, 2, 5, 0, -1, 10**9, 1 << 70))]
        case "predict_batch":
            return [name, _random_texts(chance, 40, 300), chance.choice((1, 2, 50))]
        case "explain":
            return [name, random_text(chance, 300), chance.choice(UNITS)]
        case "save":
            return [name]
        case "at_once":
            return [name, _random_texts(chance, 40, 300), chance.choice((2, 3))]
        case "odd":
            return [name, chance.choice(ASKED), chance.choice(tuple(NO_STRINGS))]
        case "window":
            return [name, chance.choice((1, 2, 3, 7, 64, 100, 10**9)), _random_texts(chance, 6, 600)]
        case "stream":
            removable = [chance.random() < 0.7, chance.random() < 0.7]
            return [name, removable, [_random_step(chance) for _ in range(chance.randint(1, 10))]]
        case "damaged_state":
            texts = _random_texts(chance, 3, 300)
            removable = chance.random() < 0.6
            return [name, removable, texts, random_edits(chance, _packed_state(recipe, removable, texts))]
        case _:
            return ["predict", [], 1]


def _random_step(chance: Random) -> list[Any]:
    name, which = (
        chance.choice(("update", "update", "chunks", "merge", "remove", "remove_first", "pack")),
        chance.randrange(2),
    )
    match name:
        case "update" | "remove":
            return [name, which, random_text(chance, 600 if name == "update" else 10)]
        case "chunks":
            return [name, which, _random_texts(chance, 5, 60)]
        case "merge":
            return [name, which, chance.randrange(2)]
        case "remove_first":
            return [name, which, chance.choice((0, 1, 2, 5, 63, 64, 65, 300, -1, 10**9, 1 << 70))]
        case _:
            return [name, which]


def _packed_state(recipe: dict[str, Any], removable: bool, texts: list[Text]) -> bytes:
    """What the edits of a state begin with; the case itself packs it anew, from the model that it loads."""
    with computed(natively=True), np.errstate(all="ignore"):
        state = classifier_of(recipe).state(removable)
        for text in texts:
            state.update(text_of(text))
        return state.to_bytes()


def _random_texts(chance: Random, most: int, longest: int) -> list[Text]:
    return [random_text(chance, longest) for _ in range(chance.randint(1, most))]
