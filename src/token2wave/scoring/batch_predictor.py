"""Adds predictions to batches of rows, in any process; each process loads the model once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import Classifier, load
from token2wave.errors import ConfigError, DataError, MissingExtraError
from token2wave.inference.arrow_texts import is_arrow

MAX_CLASSES_IN_COLUMNS = 1_000
_loaded: dict[tuple[str, int, int, int], Classifier] = {}  # by path, size, time of change and inode


class PredictionOptions(NamedTuple):
    """The columns that are added to each row.

    Attributes:
        top_k: how many of the most probable classes stand in a column ``top``; 1 adds no such column.
        probabilities: the probability of every class, in a column ``probabilities``.
        novelty: how unlike the training texts each text is, in a column ``novelty``.
        prefix: prefix of the names of all these columns.
    """

    top_k: int = 1
    probabilities: bool = False
    novelty: bool = False
    prefix: str = ""


class BatchPredictor:
    """Adds predictions to batches of rows; can be pickled, and called in any process.

    It serves Ray Data's and Spark's ``map_batches``, ``mapInPandas`` and ``mapInArrow``, and plain
    multiprocessing. The model is loaded once in each process, with the first batch; its path is pickled.

    Args:
        model: path of the model file, which every process must be able to read.
        text_column: the column of the texts.
        top_k: add a column ``top`` of so many most probable classes, where more than one.
        probabilities: add a column ``probabilities`` with that of every class.
        novelty: add a column ``novelty``; see :meth:`token2wave.Classifier.novelty`. It takes longer.
        prefix: what the names of the added columns begin with.

    Example:
        >>> import token2wave
        >>> predictor = token2wave.BatchPredictor("news.safetensors")  # doctest: +SKIP
        >>> predictor({"text": ["Shares fell after the report"]})["label"]  # doctest: +SKIP
        array(['Business'], dtype=object)
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        text_column: str = "text",
        top_k: int = 1,
        probabilities: bool = False,
        novelty: bool = False,
        prefix: str = "",
    ) -> None:
        self.model = os.path.abspath(model)
        self.text_column = text_column
        self.options = PredictionOptions(top_k, probabilities, novelty, prefix)

    @property
    def classifier(self) -> Classifier:
        """The model; this process keeps it.

        Raises:
            ModelFileError: as :func:`token2wave.load`.
            ConfigError: the model cannot give a column of the options.
        """
        key = _identity(self.model)
        if key not in _loaded:
            for old in [key for key in _loaded if key[0] == self.model]:
                del _loaded[old]
            _loaded[key] = load(self.model)
        _require(_loaded[key], self.options)
        return _loaded[key]

    def predictions(self, texts: Any) -> Predictions:
        """Predict a list of strings, or an array of ``pyarrow``.

        Raises:
            TypeError: as :meth:`token2wave.Classifier.probabilities`.
        """
        classifier = self.classifier
        probabilities = classifier.probabilities(texts)
        novelty = None
        if self.options.novelty:
            novelty = classifier.novelty(texts.to_pylist() if is_arrow(texts) else texts)
        return Predictions(classifier, self.options, probabilities, novelty)

    def __call__(self, batch: Any) -> Any:
        """Return the batch with the columns of the predictions added, as the same kind of thing.

        Args:
            batch: a mapping of columns to arrays or lists, a ``pyarrow.Table`` or ``RecordBatch``, or a
                ``pandas.DataFrame``.

        Raises:
            DataError: the column of the texts is missing, or a column of the predictions is there already.
            TypeError: a text is no string, or the batch is none of these.
        """
        if isinstance(batch, Mapping):
            names = list(batch)
            self._require_columns(names)
            values = self.predictions(list(batch[self.text_column])).values()
            return {**batch, **{name: _array(column) for name, column in values.items()}}
        if type(batch).__module__.split(".")[0] == "pyarrow" and hasattr(batch, "schema"):
            return self._arrow(batch)
        if type(batch).__module__.split(".")[0] == "pandas" and hasattr(batch, "assign"):
            self._require_columns(list(batch.columns))
            values = self.predictions(batch[self.text_column].tolist()).values()
            return batch.assign(**values)
        raise TypeError(
            f"expected a mapping, a pyarrow table or a pandas frame, found {type(batch).__name__}"
        )

    def _arrow(self, batch: Any) -> Any:
        names = batch.schema.names
        self._require_columns(names)
        texts = batch.column(names.index(self.text_column))
        columns = self.predictions(texts).arrow()
        import pyarrow

        if isinstance(batch, pyarrow.RecordBatch):
            arrays = [*batch.columns, *columns.values()]
            return pyarrow.RecordBatch.from_arrays(arrays, names=[*names, *columns])
        for name, column in columns.items():
            batch = batch.append_column(name, column)
        return batch

    def _require_columns(self, names: Sequence[str]) -> None:
        if self.text_column not in names:
            raise DataError(
                f"there is no column {self.text_column!r}",
                location="batch",
                hint="name the column of the texts with text_column",
            )
        for name in column_names(self.classifier, self.options):
            if name in names:
                raise DataError(
                    f"the column {name!r}, which predictions add, is already there",
                    location="batch",
                    hint="name a prefix for the columns that are added",
                )


@dataclass(frozen=True)
class Predictions:
    """Predictions for ``N`` texts.

    Attributes:
        classifier: the model.
        options: which columns there are.
        probabilities: ``(N, C)`` float32.
        novelty: ``(N,)`` float64, if the options ask for it.
    """

    classifier: Classifier
    options: PredictionOptions
    probabilities: NDArray[np.float32]
    novelty: NDArray[np.float64] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The classes."""
        return self.classifier.label_names

    def best(self) -> NDArray[np.int64]:
        """The most probable class of each text, ``(N,)``."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    def confidence(self) -> NDArray[np.float32]:
        """Its probability, ``(N,)``."""
        return np.asarray(self.probabilities.max(axis=1))

    def ranking(self) -> NDArray[np.int64]:
        """All classes of each text, the most probable first, ``(N, C)``."""
        return np.argsort(-self.probabilities, axis=1, kind="stable").astype(np.int64)

    def assigned_labels(self) -> list[list[str]]:
        """The classes that each text is given, where it may have several, the most probable first."""
        masks = self.probabilities.astype(np.float64) >= np.array(self.classifier.thresholds)
        return [
            [self.names[i] for i in row if mask[i]]
            for row, mask in zip(self.ranking().tolist(), masks, strict=True)
        ]

    def values(self) -> dict[str, list[Any]]:
        """The columns as Python has them."""
        names = self.names
        columns: dict[str, list[Any]] = {}
        if self.classifier.multi_label:
            columns["labels"] = self.assigned_labels()
        else:
            columns["label"] = [names[i] for i in self.best().tolist()]
        columns["confidence"] = self.confidence().tolist()
        if self.options.novelty and self.novelty is not None:
            columns["novelty"] = self.novelty.tolist()
        if self.options.top_k > 1:
            ranking = self.ranking()[:, : self.options.top_k]
            top = np.take_along_axis(self.probabilities, ranking, axis=1).tolist()
            columns["top"] = [
                [{"label": names[i], "probability": p} for i, p in zip(ids, row, strict=True)]
                for ids, row in zip(ranking.tolist(), top, strict=True)
            ]
        if self.options.probabilities:
            columns["probabilities"] = [
                dict(zip(names, row, strict=True)) for row in self.probabilities.tolist()
            ]
        return {self.options.prefix + name: column for name, column in columns.items()}

    def arrow(self) -> dict[str, Any]:
        """The same columns as arrays of ``pyarrow``."""
        import pyarrow

        names = pyarrow.array(list(self.names), pyarrow.string())
        columns: dict[str, Any] = {}
        if self.classifier.multi_label:
            columns["labels"] = pyarrow.array(self.assigned_labels(), pyarrow.list_(pyarrow.string()))
        else:
            columns["label"] = names.take(pyarrow.array(self.best()))
        columns["confidence"] = pyarrow.array(self.confidence())
        if self.options.novelty and self.novelty is not None:
            columns["novelty"] = pyarrow.array(self.novelty)
        if self.options.top_k > 1:
            ranking = self.ranking()[:, : self.options.top_k]
            probabilities = np.take_along_axis(self.probabilities, ranking, axis=1)
            entries = pyarrow.StructArray.from_arrays(
                [names.take(pyarrow.array(ranking.ravel())), pyarrow.array(probabilities.ravel())],
                ["label", "probability"],
            )
            offsets = np.arange(len(ranking) + 1, dtype=np.int32) * ranking.shape[1]
            columns["top"] = pyarrow.ListArray.from_arrays(pyarrow.array(offsets), entries)
        if self.options.probabilities:
            arrays = [pyarrow.array(np.ascontiguousarray(column)) for column in self.probabilities.T]
            columns["probabilities"] = pyarrow.StructArray.from_arrays(arrays, list(self.names))
        return {self.options.prefix + name: column for name, column in columns.items()}


def column_names(classifier: Classifier, options: PredictionOptions) -> list[str]:
    """Names of the columns that are added."""
    names = ["labels" if classifier.multi_label else "label", "confidence"]
    names += ["novelty"] * options.novelty
    names += ["top"] * (options.top_k > 1) + ["probabilities"] * options.probabilities
    return [options.prefix + name for name in names]


def arrow_fields(classifier: Classifier, options: PredictionOptions) -> list[Any]:
    """The added columns as fields of ``pyarrow``.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError("pyarrow", "score", purpose="writing Parquet") from error
    nothing = np.zeros((0, len(classifier.label_names)), dtype=np.float32)
    columns = Predictions(classifier, options, nothing, np.zeros(0)).arrow()
    return [pyarrow.field(name, column.type) for name, column in columns.items()]


def _require(classifier: Classifier, options: PredictionOptions) -> None:
    """Refuse options that a model cannot serve.

    Raises:
        ConfigError: it cannot give a column.
    """
    if options.top_k < 1:
        raise ConfigError(f"expected at least one class, found {options.top_k}", location="top_k")
    if options.novelty and classifier.novelty_reference is None:
        raise ConfigError(
            "the model has no reference for novelty",
            location="novelty",
            hint="train it again with validation texts",
        )
    n_classes = len(classifier.label_names)
    if options.probabilities and n_classes > MAX_CLASSES_IN_COLUMNS:
        raise ConfigError(
            f"expected at most {MAX_CLASSES_IN_COLUMNS:,} classes, found {n_classes:,}",
            location="probabilities",
            hint="ask for the most probable ones with top_k",
        )


def _identity(model: str) -> tuple[str, int, int, int]:
    """What changes when the file of a model does."""
    try:
        state = Path(model).stat()
    except (OSError, ValueError):
        return model, -1, -1, -1  # loading says what is wrong
    return model, state.st_size, state.st_mtime_ns, state.st_ino


def _array(column: list[Any]) -> NDArray[Any]:
    """A column of numpy; lists and dictionaries stay what they are."""
    if column and isinstance(column[0], (float, str)):
        return np.array(column, dtype=np.float64 if isinstance(column[0], float) else object)
    array = np.empty(len(column), dtype=object)
    array[:] = column
    return array
