"""Exports a classifier to one ONNX file, and runs such a file on texts.

Features are computed outside the graph, because ONNX has no operator that hashes words (``docs/onnx.md``).
The metadata of the file holds everything that they need.
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
from token2wave.data.objects import to_texts
from token2wave.errors import ModelFileError, OutputError, Token2WaveError, import_extra, require_text
from token2wave.features import Features, Ragged, describe_features, features_from_file
from token2wave.inference.prediction import Prediction, make_prediction
from token2wave.inference.reference import require_finite
from token2wave.storage.atomic import atomic_write
from token2wave.storage.model_file import parse_header
from token2wave.storage.outputs import Outputs

FORMAT_VERSION = 3
KEY = "token2wave"
MAX_BYTES = 2**31 - 1  # the limit of protobuf
PLACES_CHUNK = 1 << 14  # places of the padded table in a batch; bounds memory
FEATURE_ARRAYS: dict[str, np.dtype[Any]] = {
    "buckets": np.dtype("<u4"),
    "oov_hashes": np.dtype("<u4"),
    "vocabulary": np.dtype("u1"),
}
SECTIONS = {"features": dict, "network": dict, "labels": list, "thresholds": list, "versions": dict}
EXPORT_AGAIN = "export the model again"


def export_onnx(classifier: Classifier, path: str | os.PathLike[str], *, overwrite: bool = False) -> int:
    """Write the whole classifier, from feature ids to probabilities, as one ONNX file.

    Args:
        classifier: a classifier whose network compiles. A compressed embedding stays small.
        path: the file to write. An earlier export is replaced when the new one is complete.
        overwrite: whether a file of another kind may be replaced.

    Returns:
        Size of the file in bytes.

    Raises:
        ConfigError: the network does not compile, or the model is one of scores; the message says why.
        OutputError: the file cannot be written, is of another kind, or is larger than ONNX allows.
        MissingExtraError: the package ``onnx`` is not installed.
    """
    Outputs(overwrite=overwrite).check_file(path, "ONNX file")
    with import_extra("onnx", "export to ONNX", "onnx"):
        import onnx

        from token2wave.integrations.onnx_graph import build_graph

    classifier.require_labels("export to ONNX")
    classifier.require_texts("export to ONNX")
    network = classifier.compiled()
    arrays = network.arrays()
    encoded = {
        name: array
        for name, array in classifier.encoded.items()
        if name in arrays and np.array_equal(array.decoded(), arrays[name])  # else the network has changed
    }
    model = build_graph(network.config, arrays, encoded, classifier.thresholds)
    onnx.helper.set_model_props(model, _metadata(classifier))
    n_bytes = model.ByteSize()
    if n_bytes > MAX_BYTES:
        raise OutputError(
            f"expected at most {MAX_BYTES:,} bytes, the limit of ONNX files, found {n_bytes:,}",
            location=str(path),
            hint="compress the model first: token2wave compress --storage int8",
        )
    content: bytes = model.SerializeToString(deterministic=True)
    onnx.checker.check_model(content, full_check=True)
    with atomic_write(Path(path)) as temporary:
        temporary.write_bytes(content)
    return len(content)


def _metadata(classifier: Classifier) -> dict[str, str]:
    """Return the metadata: JSON, and the arrays of the features in base64."""
    header = {
        "format_version": FORMAT_VERSION,
        "features": describe_features(classifier.features),
        "network": classifier.network.config.to_dict(),
        "labels": list(classifier.label_names),
        "thresholds": list(classifier.thresholds),
        "versions": classifier.written_by,
    }
    metadata = {KEY: json.dumps(header, sort_keys=True)}
    for name, array in classifier.features.arrays().items():
        content = array.astype(array.dtype.newbyteorder("<")).tobytes()
        metadata[f"{KEY}.features.{name}"] = base64.b64encode(content).decode()
    return metadata


def pad(features: Ragged) -> dict[str, NDArray[np.int64]]:
    """Pad ``B`` texts to the inputs of the graph; the longest has ``L`` features.

    Returns:
        ``ids`` ``(B, L)``, with ``L`` at least 1 and zero after the end of a text; ``n_features`` ``(B,)``;
        ``n_ordered`` ``(B,)``, which only graphs with a context branch take; and ``n_oov_tokens`` ``(B,)``,
        if the features have an OOV table.
    """
    lengths = features.lengths
    ids = np.zeros((len(features), max(int(lengths.max(initial=1)), 1)), dtype=np.int64)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = features.ids
    inputs = {"ids": ids, "n_features": lengths, "n_ordered": features.n_ordered}
    return inputs if features.n_oov_tokens is None else {**inputs, "n_oov_tokens": features.n_oov_tokens}


class OnnxClassifier:
    """Runs an ONNX file of :func:`export_onnx` on texts, with onnxruntime.

    Args:
        path: the ONNX file.
        providers: onnxruntime's execution providers, in order of preference.

    Attributes:
        features: turns texts into rows of the embedding, as in training.
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
        self._session, metadata = _open(Path(path), providers)
        try:
            header = _read_header(metadata)
            self.features = _read_features(header["features"], metadata)
        except Token2WaveError as error:
            raise ModelFileError(error.problem, location=self._path, hint=error.hint) from error
        self.label_names: tuple[str, ...] = tuple(header["labels"])
        self.thresholds: tuple[float, ...] = tuple(header["thresholds"])
        sizes = self.features.n_rows, len(self.features.arrays().get("oov_hashes", ()))
        if sizes != (header["network"].get("n_rows"), header["network"].get("n_oov", 0)):
            problem = "expected features with the rows and the OOV table of the network"
            raise ModelFileError(problem, location=self._path)
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        self.probabilities([""])  # refuses a graph that does not fit

    def probabilities(self, texts: Any) -> NDArray[np.float32]:
        """Compute the probability of every class for every text, ``(N, C)``.

        Raises:
            InputError: ``texts`` is not a list of strings (:func:`token2wave.data.objects.to_texts`).
        """
        return self._probabilities(self.features(to_texts(texts)))

    def _probabilities(self, features: Ragged) -> NDArray[np.float32]:
        probabilities = np.empty((len(features), len(self.label_names)), dtype=np.float32)
        for batch in _batches_of_similar_length(features.lengths):
            probabilities[batch] = self._run(features.take(batch))
        return probabilities

    def _run(self, features: Ragged) -> NDArray[np.float32]:
        try:
            inputs = pad(features)
            probabilities: NDArray[np.float32] = self._session.run(
                ["probabilities"], {name: inputs[name] for name in self._inputs}
            )[0]
        except Exception as error:  # onnxruntime's errors have no other base
            problem = f"expected a graph that token2wave export made, found one that fails ({error})"
            raise ModelFileError(problem, location=self._path, hint=EXPORT_AGAIN) from error
        if probabilities.shape != (len(features), len(self.label_names)):
            problem = f"expected a graph of {len(self.label_names)} classes, found {probabilities.shape[1:]}"
            raise ModelFileError(problem, location=self._path)
        return require_finite(probabilities)

    def predict(self, text: str, top_k: int = 1) -> Prediction:
        """Classify one text like :meth:`token2wave.Classifier.predict`, without novelty.

        Raises:
            InputError: ``text`` is not a string.
        """
        require_text(text)
        return self.predict_batch([text], top_k)[0]

    def predict_batch(self, texts: Any, top_k: int = 1) -> list[Prediction]:
        """Classify many texts.

        Raises:
            InputError: as :meth:`probabilities`.
        """
        features = self.features(to_texts(texts))
        known = (self.features.n_known(features) > 0).tolist()
        rows = zip(self._probabilities(features).tolist(), known, strict=True)
        return [make_prediction(row, self.label_names, top_k, self.thresholds, known) for row, known in rows]


def _batches_of_similar_length(lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the indices of texts for each batch, so that padding and memory stay small."""
    order, first = np.argsort(-lengths, kind="stable"), 0
    while first < len(order):
        longest = max(int(lengths[order[first]]), 1)
        last = first + max(PLACES_CHUNK // longest, 1)
        yield order[first:last]
        first = last


def _open(path: Path, providers: Sequence[str]) -> tuple[Any, dict[str, str]]:
    """Open the file with onnxruntime; return the session and the metadata."""
    with import_extra("onnx", "running an ONNX file", "onnxruntime"):
        import onnxruntime
    if not path.is_file():
        problem = f"expected an ONNX file, found {'a folder' if path.is_dir() else 'no such file'}"
        raise ModelFileError(problem, location=str(path), hint="check the path")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads()
    options.log_severity_level = 4  # the exception below says what is wrong
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=list(providers), enable_fallback=0
        )
        return session, session.get_modelmeta().custom_metadata_map
    except Exception as error:  # onnxruntime's errors have no other base
        problem = f"expected an ONNX file, found one damaged, cut short or of another kind ({error})"
        raise ModelFileError(problem, location=str(path), hint=EXPORT_AGAIN) from error


def _read_header(metadata: dict[str, str]) -> dict[str, Any]:
    """Decode and check the JSON of the metadata."""
    try:
        header = parse_header(metadata[KEY]) if KEY in metadata else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or type(header.get("format_version")) is not int:
        problem = "expected an ONNX file of token2wave, found one of another origin"
        raise ModelFileError(problem, hint="use a file that token2wave export wrote")
    if header["format_version"] != FORMAT_VERSION:
        problem = f"expected format {FORMAT_VERSION}, found format {header['format_version']}"
        raise ModelFileError(problem, hint=f"another version of token2wave wrote the file: {EXPORT_AGAIN}")
    for section, section_type in SECTIONS.items():
        if not isinstance(header.get(section), section_type):
            raise ModelFileError(f"expected the section {section!r} in the metadata")
    numbers = [value for value in header["thresholds"] if type(value) in (int, float)]
    if not all(isinstance(label, str) for label in header["labels"]) or numbers != header["thresholds"]:
        raise ModelFileError("expected names in the section 'labels', and numbers in 'thresholds'")
    return header


def _read_features(description: dict[str, Any], metadata: dict[str, str]) -> Features:
    settings = description.get("settings")
    if not isinstance(settings, dict):
        raise ModelFileError("expected settings of the features, found none")
    arrays: dict[str, NDArray[Any]] = {}
    for name, dtype in FEATURE_ARRAYS.items():
        content = metadata.get(f"{KEY}.features.{name}")
        if content is not None:
            try:
                arrays[name] = np.frombuffer(base64.b64decode(content, validate=True), dtype)
            except ValueError as error:
                raise ModelFileError(f"expected the array {name!r} in base64: {error}") from error
    return features_from_file(str(description.get("kind")), settings, arrays)
