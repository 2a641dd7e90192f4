r"""Whether a model file predicts what its network says, by whatever way: all against torch.

    python benchmarks/agreement.py --data ag_news,imdb --presets fast,small,paper
    python benchmarks/agreement.py --data ag_news --presets fast --models build/prediction
    python benchmarks/agreement.py --name four_ways --data ag_news --storages "" --all

Every preset is trained on every data set, unless ``--models`` names a folder with files
``DATA/PRESET.safetensors``. The reference is torch's ``WaveNetwork`` with the parameters of such a file, on
features that are made without the native core. Against it stand the probabilities that ``token2wave.load``
gives, in the native core for every test text, in numpy for the first 2,000 (all of them with ``--all``);
those of the file exported to ONNX, run by onnxruntime; and those of the model and tokenizer that
``transformers`` loads from a folder which it saved. Then the file is stored in fewer bits. Each of these is a
process of its own.
``results/benchmarks/agreement.json`` is written after each model.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from measuring import RESULTS, ROOT, all_versions, code_state, write_document
from numpy.typing import NDArray
from prediction import data_key, environment_of, names, run_job
from prediction_worker import answered

from token2wave.formatting import percent
from token2wave.storage.atomic import make_folder
from token2wave.training.result import machine

SCHEMA = 1
REFERENCE = "torch"
STORAGES = ("float16", "int8")
WAYS = ("onnx", "transformers")  # those that need packages of others
NUMPY_TEXTS = 2000
TEXTS_IN_BATCH = 64
Job = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare all models that the command line asks for; 130 if interrupted."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    if options.job is not None:
        options.out.write_text(json.dumps(answered(JOBS, options.job)), encoding="utf-8")
        return 0
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "name": options.name,
        "command": "python benchmarks/agreement.py " + shlex.join(given),
        "settings": {key: getattr(options, key) for key in ("seed", "threads", "all", "ways")},
        "machine": machine(options.threads, "cpu"),
        "processors": os.cpu_count(),
        "versions": all_versions(("onnx", "onnxruntime", "transformers")),
        "code": code_state(),
        "data": {},
        "models": {},
    }
    path = options.results / f"{options.name}.json"
    try:
        for data in options.data:
            for preset in options.presets:
                record = _Comparison(options, data, preset).record()
                key = data_key(data)
                document["data"].setdefault(key, {}).update(record.pop("data", {}))
                document["models"].setdefault(key, {})[preset] = record
                write_document(path, document)
                print(f"{key}  {preset}: {_told(record)}", flush=True)
    except KeyboardInterrupt:
        print(f"interrupted; finished models are in {path.name}", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default="agreement", help="of the result")
    parser.add_argument("--data", type=names, default=[], help="data sets with a test set, by commas")
    parser.add_argument("--presets", type=names, default=["fast", "small", "paper"], help="by commas")
    parser.add_argument("--models", type=Path, help="folder with DATA/PRESET.safetensors, not to train them")
    parser.add_argument("--ways", type=names, default=list(WAYS), help="further ones, by commas")
    parser.add_argument(
        "--storages", type=names, default=list(STORAGES), help="of compressed files, by commas"
    )
    parser.add_argument("--all", action="store_true", help="every test text in numpy, too")
    parser.add_argument("--seed", type=int, default=0, help="of training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "agreement", help="of files made here")
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return parser


class _Comparison:
    """A preset on a data set."""

    def __init__(self, options: argparse.Namespace, data: str, preset: str) -> None:
        self.options, self.data, self.preset = options, data, preset
        self.folder = options.build / data_key(data)
        make_folder(self.folder)

    def record(self) -> dict[str, Any]:
        """All that is found; what fails has its reason."""
        model, error = self.model()
        if error is not None:
            return {"error": error}
        limit = None if self.options.all else NUMPY_TEXTS
        paths = {
            REFERENCE: self.predicted(model, "reference", native=False),
            "native": self.predicted(model, "probabilities", native=True),
            "numpy": self.predicted(model, "probabilities", native=False, limit=limit),
            **{way: self.predicted(model, way, native=True) for way in self.options.ways},
        }
        kinds = self.options.storages
        storage = {"float32": paths["native"], **{kind: self.stored(model, kind) for kind in kinds}}
        return {
            "error": None,
            "data": paths["native"].get("data", {}),
            "any_two": any_two([each["probabilities"] for each in paths.values() if "probabilities" in each]),
            "paths": _held_against(paths, REFERENCE),
            "storage": _held_against(storage, "float32"),
        }

    def model(self) -> tuple[Path, str | None]:
        """The model file, and why there is none."""
        name = f"{self.preset}.safetensors"
        if self.options.models is not None:
            path = self.options.models / data_key(self.data) / name
            return path, None if path.is_file() else f"there is no {name} in the folder of the models"
        path = self.folder / name
        job = {"kind": "train", "preset": self.preset, "seed": self.options.seed, "model": str(path)}
        return path, self.done(job)["error"]

    def stored(self, model: Path, storage: str) -> dict[str, Any]:
        """Predict after the file was stored in fewer bits."""
        path = self.folder / f"{self.preset}.{storage}.safetensors"
        made = self.done({"kind": "compress", "model": str(model), "out": str(path), "storage": storage})
        return made if made["error"] is not None else self.predicted(path, "probabilities", native=True)

    def predicted(self, model: Path, kind: str, native: bool, limit: int | None = None) -> dict[str, Any]:
        """Probabilities of the test texts, or of so many of them, and facts."""
        out = self.folder / "probabilities.npy"
        job = {"kind": kind, "model": str(model), "out": str(out), "limit": limit}
        found = self.done(job, native)
        if found["error"] is None:
            found["probabilities"] = np.load(out)
            out.unlink()
        return found

    def done(self, job: Job, native: bool | None = None) -> dict[str, Any]:
        """What came of a job, in a process of its own."""
        environment = environment_of(self.options.threads, native)
        return run_job(Path(__file__), {**job, "data": self.data}, environment)


def _held_against(found: dict[str, dict[str, Any]], reference: str) -> dict[str, Any]:
    """Take the probabilities out of what was found, and say how far they are from those of the reference."""
    expected = found[reference].get("probabilities")
    against: dict[str, Any] = {}
    for name, each in found.items():
        against[name] = {key: each[key] for key in each if key not in ("probabilities", "data")}
        if name != reference and expected is not None and "probabilities" in each:
            against[name] |= difference(each["probabilities"], expected)
    return against


def difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> dict[str, Any]:
    """Compare probabilities.

    Args:
        found: ``(N, C)``.
        expected: ``(M, C)``, ``M >= N``, of the same texts first.

    Returns:
        ``other_classes``, in how many texts the most probable class is another; ``largest_difference`` of two
        probabilities; and ``widest_margin``, by how much at most ``expected`` favoured the class that was not
        found, 0 if there is none.
    """
    expected = expected[: len(found)]
    classes, wanted = found.argmax(axis=1), expected.argmax(axis=1)
    texts = np.arange(len(found))
    margins = expected[texts, wanted] - expected[texts, classes]
    return {
        "other_classes": int((classes != wanted).sum()),
        "largest_difference": float(np.abs(found.astype(np.float64) - expected).max()),
        "widest_margin": float(margins.max()),
    }


def any_two(found: Sequence[NDArray[np.float32]]) -> dict[str, Any]:
    """Compare the probabilities of all ways with each other.

    Args:
        found: ``(N, C)`` each, of the same texts first; ``N`` may differ.

    Returns:
        ``texts`` that all ways have, the ``largest_difference`` of two probabilities of one class and text,
        and ``other_classes``, in how many texts not all find the same class most probable.
    """
    n_texts = min(map(len, found), default=0)
    if not n_texts:
        return {"texts": 0}
    every = np.array([each[:n_texts] for each in found], dtype=np.float64)
    classes = every.argmax(axis=2)
    return {
        "texts": n_texts,
        "largest_difference": float(np.ptp(every, axis=0).max()),
        "other_classes": int((classes != classes[0]).any(axis=0).sum()),
    }


def _told(record: dict[str, Any]) -> str:
    if record["error"] is not None:
        return f"failed: {record['error']}"
    told = []
    for name, found in (record["paths"] | record["storage"]).items():
        if found["error"] is not None:
            told.append(f"{name} failed: {found['error']}")
        elif "other_classes" in found:
            others = f"{found['other_classes']} of {found['texts']:,} otherwise"
            told.append(
                f"{name} {percent(found['accuracy'])}, {others}, {found['largest_difference']:.1e} apart"
            )
    return "; ".join(told)


# ---- jobs, each in a process of its own ----


def _train(job: Job) -> dict[str, Any]:
    import token2wave
    from token2wave.data import load_splits

    unseen = replace(load_splits(job["data"]), test=None)  # no test text is seen
    token2wave.train(unseen, out=job["model"], preset=job["preset"], seed=job["seed"], device="cpu")
    return {}


def _compress(job: Job) -> dict[str, Any]:
    import token2wave

    storage = job["storage"]
    result = token2wave.compress(job["model"], job["out"], data=job["data"], max_size=None, storage=storage)
    return {"summary": dict(result.summary)}


def _probabilities(job: Job) -> dict[str, Any]:
    """As the package computes them, in the core or in numpy by the environment."""
    import token2wave
    from token2wave.core import load_core

    classifier = token2wave.load(job["model"])
    facts = {"core": load_core() is not None, "network": type(classifier.network).__name__}
    return {**facts, **_saved(job, classifier.label_names, classifier.probabilities)}


def _reference(job: Job) -> dict[str, Any]:
    """As torch computes them from the same parameters."""
    import torch

    import token2wave
    from token2wave.models import WaveNetwork

    classifier = token2wave.load(job["model"])
    network = WaveNetwork(classifier.network.config)
    arrays = classifier.network.arrays()
    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})

    def probabilities(texts: list[str]) -> NDArray[np.float32]:
        logits = torch.from_numpy(network.logits(classifier.features(texts)))
        shares: NDArray[np.float32] = logits.softmax(dim=1).numpy()
        return shares

    return {"network": "WaveNetwork", **_saved(job, classifier.label_names, probabilities)}


def _onnx(job: Job) -> dict[str, Any]:
    """As onnxruntime computes them from the exported file alone."""
    import token2wave
    from token2wave.integrations.onnx import OnnxClassifier, export_onnx

    with tempfile.TemporaryDirectory(prefix="agreement-") as folder:
        path = Path(folder) / "model.onnx"
        n_bytes = export_onnx(token2wave.load(job["model"]), path)
        exported = OnnxClassifier(path)
        facts = _saved(job, exported.label_names, exported.probabilities)
    return {"network": "ONNX", **facts, "bytes": n_bytes}


def _transformers(job: Job) -> dict[str, Any]:
    """As torch computes them from a folder that ``transformers`` saved and loaded."""
    import torch

    import token2wave
    from token2wave.inference.reference import probabilities as shares_of
    from token2wave.integrations import huggingface

    classifier = token2wave.load(job["model"])
    with tempfile.TemporaryDirectory(prefix="agreement-") as folder:
        path = Path(folder) / "saved"
        n_bytes = huggingface.export_huggingface(classifier, path)
        model = huggingface.WaveForSequenceClassification.from_pretrained(path).eval()
        tokenizer = huggingface.WaveTokenizer.from_pretrained(path)
    before, after = (
        classifier.network.arrays(),
        huggingface.from_huggingface(model, tokenizer).network.arrays(),
    )

    def probabilities(texts: list[str]) -> NDArray[np.float32]:
        parts = []
        with torch.inference_mode():
            for first in range(0, len(texts), TEXTS_IN_BATCH):
                some = tokenizer(texts[first : first + TEXTS_IN_BATCH], padding=True, return_tensors="pt")
                parts.append(model(**some).logits.numpy())
        shares: NDArray[np.float32] = shares_of(np.concatenate(parts), classifier.multi_label)
        return shares

    same = before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)
    facts = _saved(job, classifier.label_names, probabilities)
    return {"network": type(model).__name__, **facts, "bytes": n_bytes, "same_parameters": same}


def _saved(
    job: Job, label_names: Sequence[str], probabilities: Callable[[list[str]], NDArray[np.float32]]
) -> dict[str, Any]:
    """Save the probabilities of the test texts; facts of them and of the data."""
    from token2wave.data import encode_labels, load_splits

    splits = load_splits(job["data"])
    if splits.test is None:
        raise ValueError(f"{splits.name} has no test set")
    texts, truth = splits.test.texts[: job["limit"]], encode_labels(splits.test, label_names)[: job["limit"]]
    found = probabilities(texts)
    np.save(job["out"], found)
    return {
        "texts": len(texts),
        "accuracy": float((found.argmax(axis=1) == truth).mean()),
        "bytes": Path(job["model"]).stat().st_size,
        "data": {"test_rows": len(splits.test), "caveats": list(splits.caveats)},
    }


JOBS: dict[str, Callable[[Job], dict[str, Any]]] = {
    "train": _train,
    "compress": _compress,
    "probabilities": _probabilities,
    "reference": _reference,
    "onnx": _onnx,
    "transformers": _transformers,
}

if __name__ == "__main__":
    sys.exit(main())
