"""Exports a classifier to one ONNX file, and runs such a file on texts.

Features are computed outside the graph, since no ONNX operator hashes words (``docs/onnx.md``). The file's
metadata holds everything that they need.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import Classifier
from token2wave.core import n_threads
from token2wave.errors import MissingExtraError, ModelFileError, OutputError, Token2WaveError
from token2wave.features import Features, Ragged, features_from_file
from token2wave.inference.prediction import Prediction, make_prediction
from token2wave.inference.reference import EMBEDDING
from token2wave.storage.atomic import atomic_write

FORMAT_VERSION = 2
KEY = "token2wave"
MAX_BYTES = 2**31 - 1  # protobuf's
PLACES_CHUNK = 1 << 14  # bounds memory
ARRAYS: dict[str, np.dtype[Any]] = {"buckets": np.dtype("<u4"), "vocabulary": np.dtype("u1")}
SECTIONS = {"features": dict, "network": dict, "labels": list, "thresholds": list, "versions": dict}


def export_onnx(classifier: Classifier, path: str | os.PathLike[str]) -> int:
    """Write the whole classifier, from rows of features to probabilities, as one ONNX file.

    Args:
        classifier: a classifier whose network compiles. A compressed embedding stays as small.
        path: the file to write. An existing file is replaced only when the new one is complete.

    Returns:
        Size of the file in bytes.

    Raises:
        ConfigError: the network does not compile; the message says why.
        OutputError: the file cannot be written, or is larger than ONNX allows.
        MissingExtraError: the package ``onnx`` is not installed.
    """
    try:
        import onnx

        from token2wave.integrations.onnx_graph import build_graph
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "onnx":
            raise
        raise MissingExtraError("onnx", "onnx", purpose="export to ONNX") from error
    network = classifier.compiled()
    arrays, encoded = network.arrays(), classifier.encoded.get(EMBEDDING)
    if encoded is not None and not np.array_equal(encoded.decoded(), arrays[EMBEDDING]):
        encoded = None  # the network has changed
    made = build_graph(network.config, arrays, encoded, classifier.thresholds)
    onnx.helper.set_model_props(made, _metadata(classifier))
    n_bytes = made.ByteSize()
    if n_bytes > MAX_BYTES:
        raise OutputError(
            f"expected at most {MAX_BYTES:,} bytes, the limit of ONNX files, found {n_bytes:,}",
            location=str(path),
            hint="compress the model first: token2wave compress --storage int8",
        )
    encoded = made.SerializeToString(deterministic=True)
    onnx.checker.check_model(encoded, full_check=True)
    with atomic_write(Path(path)) as aside:
        aside.write_bytes(encoded)
    return len(encoded)


def _metadata(classifier: Classifier) -> dict[str, str]:
    """Return the metadata: JSON, and the arrays of the features in base64."""
    features = classifier.features
    header = {
        "format_version": FORMAT_VERSION,
        "features": {"kind": features.kind, "settings": features.config.to_dict()},
        "network": classifier.network.config.to_dict(),
        "labels": list(classifier.label_names),
        "thresholds": list(classifier.thresholds),
        "versions": classifier.written_by,
    }
    encoded = {KEY: json.dumps(header, sort_keys=True)}
    for name, array in features.arrays().items():
        little = array.astype(array.dtype.newbyteorder("<"))
        encoded[f"{KEY}.features.{name}"] = base64.b64encode(little.tobytes()).decode()
    return encoded


def pad(features: Ragged) -> dict[str, NDArray[np.int64]]:
    """Pad ``B`` texts to a table, as the graph takes them; the longest has ``L`` features.

    Returns:
        ``ids`` ``(B, L)``, ``L`` at least 1, zero after the end of a text; ``n_features`` ``(B,)``; and
        ``n_ordered`` ``(B,)``, which graphs without a context branch do not take.
    """
    lengths = features.lengths
    ids = np.zeros((len(features), max(int(lengths.max(initial=1)), 1)), dtype=np.int64)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = features.ids
    return {"ids": ids, "n_features": lengths, "n_ordered": features.n_ordered}


class OnnxClassifier:
    """Runs an ONNX file that :func:`export_onnx` wrote, through onnxruntime, on texts.

    Args:
        path: the ONNX file.
        providers: onnxruntime's execution providers, in order of preference.

    Attributes:
        features: turns texts into rows, as in training.
        label_names: names of the ``C`` classes, in the order of the outputs.
        thresholds: for a multi-label model, the probabilities from which a text gets a class.

    Raises:
        ModelFileError: the file is missing, damaged, or not written by token2wave.
        MissingExtraError: the package ``onnxruntime`` is not installed.

    Example:
        >>> from token2wave.integrations.onnx import OnnxClassifier
        >>> OnnxClassifier("news.onnx").predict("Shares fell after the report").label  # doctest: +SKIP
        'Business'
    """

    def __init__(
        self, path: str | os.PathLike[str], providers: Sequence[str] = ("CPUExecutionProvider",)
    ) -> None:
        self._path = str(path)
        self._session, found = _open(Path(path), providers)
        try:
            header = _header(found)
            self.features = _features(header["features"], found)
        except Token2WaveError as error:
            raise ModelFileError(error.problem, location=self._path, hint=error.hint) from error
        self.label_names: tuple[str, ...] = tuple(header["labels"])
        self.thresholds: tuple[float, ...] = tuple(header["thresholds"])
        if self.features.n_rows != header["network"].get("n_rows"):
            raise ModelFileError(
                "expected features with a row for each of the network's", location=self._path
            )
        self._inputs = [each.name for each in self._session.get_inputs()]
        self.probabilities([""])  # refuses a graph that does not fit

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Compute the probability of every class for every text, ``(N, C)``.

        Raises:
            TypeError: ``texts`` is one string, or an element is not a string.
        """
        if isinstance(texts, str):
            raise TypeError("expected a list of texts, found one string; use predict(text) or [text]")
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"expected strings, found {type(text).__name__} at texts[{number}]")
        features = self.features(texts)
        probabilities = np.empty((len(texts), len(self.label_names)), dtype=np.float32)
        for batch in _batches_of_similar_length(features.lengths):
            probabilities[batch] = self._run(features.take(batch))
        return probabilities

    def _run(self, features: Ragged) -> NDArray[np.float32]:
        """Compute the probabilities of a batch."""
        try:
            padded = pad(features)
            inputs = {name: padded[name] for name in self._inputs}
            probabilities: NDArray[np.float32] = self._session.run(["probabilities"], inputs)[0]
        except Exception as error:  # onnxruntime's have no base but this
            raise ModelFileError(
                f"expected a graph that token2wave export made, found one that fails ({error})",
                location=self._path,
                hint="export the model again",
            ) from error
        if probabilities.shape != (len(features), len(self.label_names)):
            raise ModelFileError(
                f"expected a graph of {len(self.label_names)} classes, found {probabilities.shape[1:]}",
                location=self._path,
            )
        return probabilities

    def predict(self, text: str, top_k: int = 1) -> Prediction:
        """Classify one text; as :meth:`token2wave.Classifier.predict`, without novelty.

        Raises:
            TypeError: ``text`` is not a string.
        """
        if not isinstance(text, str):
            raise TypeError(
                f"expected one string, found {type(text).__name__}; use predict_batch for several"
            )
        return self.predict_batch([text], top_k)[0]

    def predict_batch(self, texts: Sequence[str], top_k: int = 1) -> list[Prediction]:
        """Classify many texts.

        Raises:
            TypeError: as :meth:`probabilities`.
        """
        rows = self.probabilities(texts).tolist()
        return [make_prediction(row, self.label_names, top_k, self.thresholds) for row in rows]


def _batches_of_similar_length(lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Give the indices of texts for each batch: similar lengths, and few places in all."""
    order, first = np.argsort(-lengths, kind="stable"), 0
    while first < len(order):
        longest = max(int(lengths[order[first]]), 1)
        last = first + max(PLACES_CHUNK // longest, 1)
        yield order[first:last]
        first = last


def _open(path: Path, providers: Sequence[str]) -> tuple[Any, dict[str, str]]:
    """Open the file with onnxruntime; return the session and the metadata."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise MissingExtraError("onnxruntime", "onnx", purpose="running an ONNX file") from error
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise ModelFileError(
            f"expected an ONNX file, found {found}", location=str(path), hint="check the path"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads()
    options.log_severity_level = 4  # exceptions say what is wrong
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=list(providers), enable_fallback=0
        )
        return session, session.get_modelmeta().custom_metadata_map
    except Exception as error:  # onnxruntime's have no base but this
        raise ModelFileError(
            f"expected a whole ONNX file, found one that is damaged, cut short or of another kind ({error})",
            location=str(path),
            hint="export the model again",
        ) from error


def _header(found: dict[str, str]) -> dict[str, Any]:
    """Decode and check the metadata."""
    try:
        header = json.loads(found[KEY]) if KEY in found else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or type(header.get("format_version")) is not int:
        raise ModelFileError(
            "expected an ONNX file of token2wave, found one of another origin",
            hint="give a file that token2wave export wrote",
        )
    if header["format_version"] != FORMAT_VERSION:
        raise ModelFileError(
            f"expected format {FORMAT_VERSION}, found format {header['format_version']}",
            hint="another version of token2wave wrote the file: export the model again",
        )
    for section, kind in SECTIONS.items():
        if not isinstance(header.get(section), kind):
            raise ModelFileError(f"expected the section {section!r} in the metadata")
    shares = [share for share in header["thresholds"] if type(share) in (int, float)]
    if not all(isinstance(label, str) for label in header["labels"]) or shares != header["thresholds"]:
        raise ModelFileError("expected names in the section 'labels', and numbers in 'thresholds'")
    return header


def _features(settings: dict[str, Any], found: dict[str, str]) -> Features:
    """Rebuild the features from the metadata."""
    kind, own = str(settings.get("kind")), settings.get("settings")
    if not isinstance(own, dict):
        raise ModelFileError("expected settings of the features, found none")
    arrays: dict[str, NDArray[Any]] = {}
    for name, dtype in ARRAYS.items():
        encoded = found.get(f"{KEY}.features.{name}")
        if encoded is not None:
            try:
                arrays[name] = np.frombuffer(base64.b64decode(encoded, validate=True), dtype)
            except ValueError as error:
                raise ModelFileError(f"expected the array {name!r} in base64: {error}") from error
    return features_from_file(kind, own, arrays)
