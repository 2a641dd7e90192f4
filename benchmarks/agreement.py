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
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jobs import Answer, Job, answer_job, job_environment, run_job
from measuring import ROOT, comma_list, command_line, describe_origin, make_parser, write_document
from numpy.typing import NDArray
from prediction import data_key

from token2wave.formatting import percent
from token2wave.storage.atomic import make_folder

SCHEMA = 1
REFERENCE = "torch"
STORAGES = ("float16", "int8")
WAYS = ("onnx", "transformers")  # those that need packages of others
NUMPY_TEXTS = 2000
TEXTS_IN_BATCH = 64


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare all models that the command line asks for; 130 if interrupted."""
    options = _parser().parse_args(arguments)
    if options.job is not None:
        options.out.write_text(json.dumps(answer_job(JOBS, options.job)), encoding="utf-8")
        return 0
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "name": options.name,
        "command": command_line(__file__, arguments),
        "settings": {key: getattr(options, key) for key in ("seed", "threads", "all", "ways")},
        **describe_origin(options.threads, ("onnx", "onnxruntime", "transformers")),
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
                print(f"{key}  {preset}: {_describe(record)}", flush=True)
    except KeyboardInterrupt:
        print(f"interrupted; finished models are in {path.name}", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    presets = ["fast", "small", "paper"]
    build = ROOT / "build" / "agreement"
    parser = make_parser(__doc__, name="agreement", data=[], presets=presets, seed=0, threads=2, build=build)
    parser.add_argument("--models", type=Path, help="folder with DATA/PRESET.safetensors, not to train them")
    parser.add_argument("--ways", type=comma_list, default=list(WAYS), help="further ones, by commas")
    parser.add_argument(
        "--storages", type=comma_list, default=list(STORAGES), help="of compressed files, by commas"
    )
    parser.add_argument("--all", action="store_true", help="every test text in numpy, too")
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
        """All differences; what fails has its reason."""
        model, error = self.model()
        if error is not None:
            return {"error": error}
        limit = None if self.options.all else NUMPY_TEXTS
        paths = {
            REFERENCE: self.predict(model, "reference", native=False),
            "native": self.predict(model, "probabilities", native=True),
            "numpy": self.predict(model, "probabilities", native=False, limit=limit),
            **{way: self.predict(model, way, native=True) for way in self.options.ways},
        }
        storage = {name: self.predict_stored(model, name) for name in self.options.storages}
        predicted = [path["probabilities"] for path in paths.values() if "probabilities" in path]
        return {
            "error": None,
            "data": paths["native"].get("data", {}),
            "any_two": any_two(predicted),
            "paths": _differences(paths, REFERENCE),
            "storage": _differences({"float32": paths["native"], **storage}, "float32"),
        }

    def model(self) -> tuple[Path, str | None]:
        """The model file, and why there is none."""
        name = f"{self.preset}.safetensors"
        if self.options.models is not None:
            path = self.options.models / data_key(self.data) / name
            return path, None if path.is_file() else f"there is no {name} in the folder of the models"
        path = self.folder / name
        job = {"kind": "train", "preset": self.preset, "seed": self.options.seed, "model": str(path)}
        return path, self.run(job)["error"]

    def predict_stored(self, model: Path, storage: str) -> Answer:
        """Predict after the file was stored in fewer bits."""
        path = self.folder / f"{self.preset}.{storage}.safetensors"
        answer = self.run({"kind": "compress", "model": str(model), "out": str(path), "storage": storage})
        return answer if answer["error"] is not None else self.predict(path, "probabilities", native=True)

    def predict(self, model: Path, way: str, native: bool, limit: int | None = None) -> Answer:
        """Probabilities of the test texts, or of so many of them, and facts."""
        out = self.folder / "probabilities.npy"
        answer = self.run({"kind": way, "model": str(model), "out": str(out), "limit": limit}, native)
        if answer["error"] is None:
            answer["probabilities"] = np.load(out)
            out.unlink()
        return answer

    def run(self, job: Job, native: bool | None = None) -> Answer:
        """Do a job in a process of its own."""
        environment = job_environment(self.options.threads, native)
        return run_job(Path(__file__), {**job, "data": self.data}, environment)


def _differences(paths: dict[str, Answer], reference: str) -> dict[str, Any]:
    """Facts of each path without its probabilities, and how far these are from the reference's."""
    expected = paths[reference].get("probabilities")
    result: dict[str, Any] = {}
    for name, path in paths.items():
        result[name] = {key: path[key] for key in path if key not in ("probabilities", "data")}
        if name != reference and expected is not None and "probabilities" in path:
            result[name] |= difference(path["probabilities"], expected)
    return result


def difference(actual: NDArray[np.float32], expected: NDArray[np.float32]) -> dict[str, Any]:
    """Compare probabilities, ``(N, C)`` with ``(M, C)``, ``M >= N``, of the same texts first.

    ``widest_margin`` is by how much at most ``expected`` favoured its own class over that of ``actual``.
    """
    expected = expected[: len(actual)]
    classes, expected_classes = actual.argmax(axis=1), expected.argmax(axis=1)
    texts = np.arange(len(actual))
    margins = expected[texts, expected_classes] - expected[texts, classes]
    return {
        "other_classes": int((classes != expected_classes).sum()),
        "largest_difference": float(np.abs(actual.astype(np.float64) - expected).max()),
        "widest_margin": float(margins.max()),
    }


def any_two(predicted: Sequence[NDArray[np.float32]]) -> dict[str, Any]:
    """Compare the probabilities of all ways, ``(N, C)`` each, on the texts that all ways have."""
    n_texts = min(map(len, predicted), default=0)
    if not n_texts:
        return {"texts": 0}
    every = np.array([probabilities[:n_texts] for probabilities in predicted], dtype=np.float64)
    classes = every.argmax(axis=2)
    return {
        "texts": n_texts,
        "largest_difference": float(np.ptp(every, axis=0).max()),
        "other_classes": int((classes != classes[0]).any(axis=0).sum()),
    }


def _describe(record: dict[str, Any]) -> str:
    if record["error"] is not None:
        return f"failed: {record['error']}"
    notes = []
    for name, path in (record["paths"] | record["storage"]).items():
        if path["error"] is not None:
            notes.append(f"{name} failed: {path['error']}")
        elif "other_classes" in path:
            others = f"{path['other_classes']} of {path['texts']:,} otherwise"
            difference = f"{path['largest_difference']:.1e} apart"
            notes.append(f"{name} {percent(path['accuracy'])}, {others}, {difference}")
    return "; ".join(notes)


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
        softmax: NDArray[np.float32] = logits.softmax(dim=1).numpy()
        return softmax

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
    from token2wave.inference import reference
    from token2wave.integrations import huggingface

    classifier = token2wave.load(job["model"])
    with tempfile.TemporaryDirectory(prefix="agreement-") as folder:
        path = Path(folder) / "saved"
        n_bytes = huggingface.export_huggingface(classifier, path)
        model = huggingface.WaveForSequenceClassification.from_pretrained(path).eval()
        tokenizer = huggingface.WaveTokenizer.from_pretrained(path)
    arrays = classifier.network.arrays()
    loaded = huggingface.from_huggingface(model, tokenizer).network.arrays()

    def probabilities(texts: list[str]) -> NDArray[np.float32]:
        logits = []
        with torch.inference_mode():
            for first in range(0, len(texts), TEXTS_IN_BATCH):
                batch = tokenizer(texts[first : first + TEXTS_IN_BATCH], padding=True, return_tensors="pt")
                logits.append(model(**batch).logits.numpy())
        return reference.probabilities(np.concatenate(logits), classifier.multi_label)

    same = arrays.keys() == loaded.keys()
    same = same and all(np.array_equal(arrays[name], loaded[name]) for name in arrays)
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
    predicted = probabilities(texts)
    np.save(job["out"], predicted)
    return {
        "texts": len(texts),
        "accuracy": float((predicted.argmax(axis=1) == truth).mean()),
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
