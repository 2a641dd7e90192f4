"""One step of ``benchmarks/prediction.py`` in a process of its own: read data, build a model, or measure it.

A job is a dictionary with its ``kind``, ``data``, ``build`` or ``measure``; the answer is one, too.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import Job, worker_main

if TYPE_CHECKING:
    from systems import Task

    from token2wave.data import TextDataset

OURS = "token2wave"
TEST_TEXTS = "test.json"
SHORT_CHARACTERS, SHORT_TEXTS = 60, 200  # the texts that are predicted one by one
MIN_PASSES, MAX_PASSES = 3, 9
MIN_CALLS, MAX_CALLS = 20, 20_000
EXPLAINED_TEXTS, UPDATE_ROWS = 1_000, 1_000
ROWS_QUANTISED = 100_000  # of fastText's embedding, the others left out
ONE_MB = 1_000_000


# ---- the data ----


def read_data(job: Job) -> dict[str, Any]:
    """Put the test texts where all others find them, and say what is to be said of the data."""
    from token2wave.data import encode_labels, label_names_of

    splits = _splits(job)
    assert splits.test is not None
    names = label_names_of(splits.train, splits.label_names)
    truth = encode_labels(splits.test, names).tolist()
    test = {"texts": splits.test.texts, "truth": truth, "label_names": names}
    Path(job["folder"], TEST_TEXTS).write_text(json.dumps(test), encoding="utf-8")
    lengths = list(map(len, short_texts(splits.test.texts)))
    return {
        "train_rows": len(splits.train),
        "test_rows": len(splits.test),
        "classes": len(names),
        "characters_per_text": statistics.mean(map(len, splits.test.texts)),
        "short_texts": len(lengths),
        "short_characters": {"median": statistics.median(lengths), "min": min(lengths), "max": max(lengths)},
        "caveats": list(splits.caveats),
    }


def short_texts(texts: Sequence[str]) -> list[str]:
    """Choose the texts to predict one by one: those whose length is closest to `SHORT_CHARACTERS`."""
    return sorted(texts, key=lambda text: abs(len(text) - SHORT_CHARACTERS))[:SHORT_TEXTS]


def _splits(job: Job) -> TextDataset:
    from token2wave.data import load_splits

    splits = load_splits(job["data"])
    if splits.test is None:
        raise ValueError(f"{splits.name} has no test set")
    return splits


class _Test:
    """The test texts as `read_data` wrote them."""

    def __init__(self, job: Job) -> None:
        document = json.loads(Path(job["folder"], TEST_TEXTS).read_text(encoding="utf-8"))
        self.texts: list[str] = document["texts"]
        self.truth: list[int] = document["truth"]
        self.label_names: list[str] = document["label_names"]

    def accuracy(self, classes: Sequence[int]) -> float:
        return statistics.mean(a == b for a, b in zip(classes, self.truth, strict=True))


# ---- models, built once for each data set ----


@dataclass(frozen=True)
class Model:
    """A model file in the folder of the data set; ``build`` writes it and returns facts for the record."""

    name: str
    family: str
    file: str
    description: str
    build: Callable[[Job, Path], dict[str, Any]]


def build(job: Job) -> dict[str, Any]:
    """Make a model file, and say how large and how accurate it is."""
    model = MODELS[job["model"]]
    path = Path(job["folder"], model.file)
    path.unlink(missing_ok=True)
    start = time.perf_counter()
    facts = model.build(job, path)
    seconds = time.perf_counter() - start
    test, predictor = _Test(job), LOADERS[model.family](path)
    labels = predictor.predict_all(predictor.texts(test.texts))
    return {
        "bytes": path.stat().st_size,
        "digest": digest(path),
        "accuracy": test.accuracy(predictor.classes(labels, test.label_names)),
        "build_seconds": seconds,
        "facts": facts,
    }


def digest(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _preset(preset: str, job: Job, path: Path, *, prior: bool = True) -> dict[str, Any]:
    import token2wave

    unseen = replace(_splits(job), test=None)  # no test text is seen
    token2wave.train(unseen, out=path, preset=preset, prior=prior, seed=job["seed"], device="cpu")
    return {}


def _compressed(max_size: int | None, storage: str, job: Job, path: Path) -> dict[str, Any]:
    import token2wave

    model = Path(job["folder"], MODELS["fast"].file)
    result = token2wave.compress(model, path, data=job["data"], max_size=max_size, storage=storage)
    return dict(result.summary)


def _trained(system: str, job: Job, path: Path) -> dict[str, Any]:
    """As ``benchmarks/compare.py`` trains it."""
    from systems import load_system

    baseline, task = load_system(system), _task(job)
    baseline.prepare(task)
    baseline.save(baseline.fit(task), task.folder).rename(path)
    return {}


def _quantised(job: Job, path: Path) -> dict[str, Any]:
    """Quantise the more accurate of fastText's models, as its authors' quantization-example.sh does."""
    from systems import load_system
    from systems.fasttext_systems import TRAIN

    source, task = job["source"], _task(job)
    system: Any = load_system(source)
    system.prepare(task)
    model: Any = import_module("fasttext").load_model(str(Path(job["folder"], MODELS[source].file)))
    model.quantize(
        input=str(task.folder / TRAIN),
        retrain=True,
        cutoff=ROWS_QUANTISED,
        qnorm=True,
        lr=system.settings["lr"],  # the file has no rate: fastText would take its default, 0.05
        thread=task.threads,
    )
    model.save_model(str(path))
    return {"source": source}


def _task(job: Job) -> Task:
    from systems import Task

    from token2wave.data import encode_labels, label_names_of

    splits = _splits(job)
    names = label_names_of(splits.train, splits.label_names)
    labels = encode_labels(splits.train, names)
    return Task(splits.train.texts, labels, names, job["seed"], job["threads"], Path(job["folder"]))


_PAIRS = "dim 10, word pairs, 5 epochs, 2,000,000 buckets, trained as in the comparison above."
_QUANTISED = (
    f"The more accurate of the two by `quantize(retrain=True, cutoff={ROWS_QUANTISED}, qnorm=True)`, which "
    "trains it for 5 more epochs on the rows that it keeps."
)
_TFIDF = "scikit-learn's TfidfVectorizer and LinearSVC, trained as in the comparison above, in a pickle."
_ONE_MB = f"`fast` by `token2wave.compress` to at most {ONE_MB:,} bytes."
_INT8 = "`fast` by `token2wave.compress` in 8 bits, no row left out."
MODELS = {
    "fast": Model("fast", OURS, "fast.safetensors", "Preset `fast`.", partial(_preset, "fast")),
    "small": Model("small", OURS, "small.safetensors", "Preset `small`.", partial(_preset, "small")),
    "small_no_prior": Model(
        "small `--no-prior`",
        OURS,
        "no_prior.safetensors",
        "Preset `small` without the language prior.",
        partial(_preset, "small", prior=False),
    ),
    "fast_1mb": Model("fast, 1 MB", OURS, "1mb.safetensors", _ONE_MB, partial(_compressed, ONE_MB, "auto")),
    "fast_int8": Model("fast, int8", OURS, "int8.safetensors", _INT8, partial(_compressed, None, "int8")),
    **{
        f"fasttext_{rate}": Model(
            f"fastText, lr {number}", "fastText", f"{rate}.bin", _PAIRS, partial(_trained, f"fasttext_{rate}")
        )
        for rate, number in (("lr025", "0.25"), ("lr05", "0.5"))
    },
    "fasttext_quantised": Model("fastText, quantised", "fastText", "quantised.ftz", _QUANTISED, _quantised),
    "tfidf_svc": Model("TF-IDF + LinearSVC", "TF-IDF", "svc.pickle", _TFIDF, partial(_trained, "tfidf_svc")),
}
MADE_FROM = {
    "fast_1mb": ("fast",),
    "fast_int8": ("fast",),
    "fasttext_quantised": ("fasttext_lr025", "fasttext_lr05"),
}


# ---- what is timed of each family ----


@dataclass(frozen=True)
class Predictor:
    """A model that was loaded from its file.

    Attributes:
        predict_all: labels of many texts, in a form of its own.
        ways: to predict one text.
        classes: the number of each of those labels, by the names of the classes.
        normalise: a text in the form that it needs; None if it takes any.
    """

    predict_all: Callable[[list[str]], Any]
    ways: dict[str, Callable[[str], object]]
    classes: Callable[[Any, Sequence[str]], list[int]]
    normalise: Callable[[str], str] | None = None

    def texts(self, texts: Sequence[str]) -> list[str]:
        """Texts in the form that it needs."""
        return list(texts if self.normalise is None else map(self.normalise, texts))


def _token2wave(path: Path) -> Predictor:
    import token2wave

    classifier = token2wave.load(path)
    return Predictor(
        classifier.labels,
        {"predict(text)": classifier.predict},
        lambda labels, names: [names.index(label) for label in labels],
    )


def _fasttext(path: Path) -> Predictor:
    from systems.fasttext_systems import class_of, normalized

    model: Any = import_module("fasttext").load_model(str(path))
    return Predictor(
        lambda texts: model.predict(texts)[0],
        {
            # `predict` of one string fails in version 0.9.3 with NumPy 2; the binding below it does not.
            "predict([text])": lambda text: model.predict([text]),
            "f.predict(text)": lambda text: model.f.predict(text + "\n", 1, 0.0, "strict"),
        },
        lambda labels, _: [class_of(first) for first, *_ in labels],
        normalized,
    )


def _tfidf(path: Path) -> Predictor:
    with path.open("rb") as file:
        features, classifier = pickle.load(file)
    return Predictor(
        lambda texts: classifier.predict(features.transform(texts)).tolist(),  # numbers of the classes
        {"predict([text])": lambda text: classifier.predict(features.transform([text]))},
        lambda labels, _: labels,
    )


LOADERS: dict[str, Callable[[Path], Predictor]] = {
    OURS: _token2wave,
    "fastText": _fasttext,
    "TF-IDF": _tfidf,
}
# The first prediction of a fresh process, from ``path`` and ``text``.
COLD_STARTS = {
    OURS: "import token2wave\nlabel = token2wave.load(path).predict(text).label",
    "fastText": "import fasttext\nlabel = fasttext.load_model(path).predict([text])[0][0][0]",
    "TF-IDF": "import pickle\nf, c = pickle.load(open(path, 'rb'))\nc.predict(f.transform([text]))",
}


# ---- measuring ----


def measure(job: Job) -> dict[str, Any]:
    """Throughput and latency of one model; in our core, also of explanations and of an update."""
    from token2wave.core import load_core

    model, test, native = MODELS[job["model"]], _Test(job), load_core() is not None
    if job["native"] not in (None, native):  # not what the table would say
        raise RuntimeError("expected the native core, found none" if job["native"] else "expected no core")
    predictor = LOADERS[model.family](Path(job["folder"], model.file))
    texts, short, seconds = predictor.texts(test.texts), short_texts(test.texts), job["seconds"]
    labels, passes, processors = timed_passes(lambda: predictor.predict_all(texts), seconds)
    normalised = predictor.texts(short)
    calls = {way: timed_calls(predict, normalised, seconds) for way, predict in predictor.ways.items()}
    latencies = {way: statistics.median(times) for way, times in calls.items()}
    quickest = min(latencies, key=lambda way: latencies[way])
    figures = {
        "accuracy": test.accuracy(predictor.classes(labels, test.label_names)),
        "texts_per_second": len(texts) / statistics.median(passes),
        "processors_used": processors,
        "latency_seconds": latencies[quickest],
        "latency_90_percent_seconds": statistics.quantiles(calls[quickest], n=10)[-1],
    }
    if (normalise := predictor.normalise) is not None:
        predict = predictor.ways[quickest]
        _, again, _ = timed_passes(lambda: predictor.predict_all(predictor.texts(test.texts)), seconds)
        times = timed_calls(lambda text: predict(normalise(text)), short, seconds)
        figures["prepared_texts_per_second"] = len(texts) / statistics.median(again)
        figures["prepared_latency_seconds"] = statistics.median(times)
    if job["native"]:
        figures |= explain_and_update(Path(job["folder"], model.file), test, seconds)
    return {
        "figures": figures,
        "passes_seconds": passes,
        "calls": {way: len(times) for way, times in calls.items()},
        "latencies_seconds": latencies,
        "quickest": quickest,
        "text": normalised[0],
    }


def explain_and_update(path: Path, test: _Test, seconds: float) -> dict[str, float]:
    """How many texts are explained in a second, and the seconds of an update from file to file.

    The rows to learn from are of the test set. Nothing is judged on them: the updated model only takes time.
    """
    import token2wave

    classifier, texts = token2wave.load(path), test.texts[:EXPLAINED_TEXTS]
    _, explained, _ = timed_passes(lambda: [classifier.explain(text) for text in texts], seconds)
    rows = test.texts[:UPDATE_ROWS]
    labels = [test.label_names[label] for label in test.truth[:UPDATE_ROWS]]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "updated.safetensors")

        def update() -> None:
            token2wave.update(token2wave.load(path), rows, labels).save(out)

        _, updates, processors = timed_passes(update, seconds)
    return {
        "explained_texts_per_second": len(texts) / statistics.median(explained),
        "update_seconds": statistics.median(updates),
        "update_processor_seconds": processors * statistics.mean(updates),  # without waiting for the disk
        "update_rows": len(rows),
    }


def timed_passes(action: Callable[[], Any], seconds: float) -> tuple[Any, list[float], float]:
    """Time passes after one for warming up, until they have taken so many seconds or are enough.

    Returns:
        What the last pass gave, the seconds of each, and how many processors they kept busy on average.
    """
    action()
    passes: list[float] = []
    result, start_of_process_time = None, time.process_time()
    while len(passes) < MIN_PASSES or (sum(passes) < seconds and len(passes) < MAX_PASSES):
        start = time.perf_counter()
        result = action()
        passes.append(time.perf_counter() - start)
    return result, passes, (time.process_time() - start_of_process_time) / sum(passes)


def timed_calls(predict: Callable[[str], object], texts: Sequence[str], seconds: float) -> list[float]:
    """Seconds of single calls, the texts in turn, until they have taken so long or are enough."""
    end = time.perf_counter() + seconds / 4
    for text in texts:  # warming up
        predict(text)
        if time.perf_counter() > end:
            break
    times: list[float] = []
    end = time.perf_counter() + seconds
    for text in itertools.cycle(texts):
        start = time.perf_counter()
        predict(text)
        now = time.perf_counter()
        times.append(now - start)
        if len(times) >= MAX_CALLS or (now > end and len(times) >= MIN_CALLS):
            break
    return times


JOBS: dict[str, Callable[[Job], dict[str, Any]]] = {"data": read_data, "build": build, "measure": measure}

if __name__ == "__main__":
    worker_main(JOBS)
