"""Adds predictions to batches of rows, in any process; each process loads the model once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import Classifier, load
from token2wave.config import require
from token2wave.data.objects import to_pairs, to_texts
from token2wave.data.values import split_names
from token2wave.errors import ConfigError, DataError, import_extra
from token2wave.options import PAIR_COLUMNS, TEXT

MAX_PROBABILITY_COLUMNS = 1_000
_loaded: dict[tuple[str, int, int, int], Classifier] = {}  # by path, size, modification time and inode


class PredictionOptions(NamedTuple):
    """The columns that predictions add to each row; see :class:`BatchPredictor`."""

    top_k: int = 1
    probabilities: bool = False
    novelty: bool = False
    prefix: str = ""


class BatchPredictor:
    """Adds predictions to batches of rows.

    A predictor can be pickled and called in any process: pass it to ``map_batches`` of Ray Data,
    ``mapInPandas`` and ``mapInArrow`` of Spark, or ``multiprocessing``. Only the path of the model is
    pickled; each process loads the model with its first batch.

    Args:
        model: path of the model file, readable by every process.
        text_column: the column of the texts; for a model of pairs the two columns (default ``text`` and
            ``text_pair``).
        top_k: if more than 1, add a column ``top`` of the ``top_k`` most probable classes.
        probabilities: add a column ``probabilities`` with the probability of every class.
        novelty: add a column ``novelty``, which takes longer; see :meth:`token2wave.Classifier.novelty`.
        prefix: prefix of the names of the added columns.

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
        text_column: str | Sequence[str] = "text",
        top_k: int = 1,
        probabilities: bool = False,
        novelty: bool = False,
        prefix: str = "",
    ) -> None:
        self.model = os.path.abspath(model)
        self.text_columns = (text_column,) if isinstance(text_column, str) else tuple(text_column)
        self.options = PredictionOptions(top_k, probabilities, novelty, prefix)

    @property
    def classifier(self) -> Classifier:
        """The model, loaded once in each process.

        Raises:
            ModelFileError: as :func:`token2wave.load`.
            ConfigError: the model does not support the options.
        """
        key = _file_identity(self.model)
        if key not in _loaded:
            for outdated in [other for other in _loaded if other[0] == self.model]:
                del _loaded[outdated]
            _loaded[key] = load(self.model)
        _require_support(_loaded[key], self.options)
        return _loaded[key]

    @property
    def _columns(self) -> tuple[str, ...]:
        """The columns of the texts that the model reads.

        Raises:
            ConfigError: they are not two for a model of pairs, or several for another one.
        """
        is_pairs = self.classifier.is_pairs
        columns = PAIR_COLUMNS if is_pairs and self.text_columns == (TEXT,) else self.text_columns
        if is_pairs and len(columns) == 1:
            columns = tuple(split_names(columns[0], ()))
        if len(columns) != 1 + is_pairs:
            expected = "two columns of texts" if is_pairs else "one column of texts"
            raise ConfigError(
                f"expected {expected}, found {', '.join(columns)}",
                location="text_column",
                hint="name the columns that the model was trained on",
            )
        return columns

    def predictions(self, texts: Any) -> Predictions:
        """Predict a list of strings or a ``pyarrow`` array.

        Raises:
            TypeError: as :meth:`token2wave.Classifier.probabilities`.
        """
        classifier = self.classifier
        probabilities, known = classifier.probabilities_and_known(texts)
        novelty = classifier.novelty(texts) if self.options.novelty else None
        return Predictions(classifier, self.options, probabilities, known, novelty)

    def added_columns(self) -> list[str]:
        """Return the names of the columns that predictions add."""
        return list(self.predictions([]).to_lists())

    def arrow_types(self) -> dict[str, Any]:
        """Return the ``pyarrow`` types of the columns that predictions add.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        with import_extra("parquet", "writing Parquet", "pyarrow"):
            return {name: column.type for name, column in self.predictions([]).to_arrow().items()}

    def __call__(self, batch: Any) -> Any:
        """Return the batch with the columns of the predictions added, as the same type.

        Args:
            batch: a mapping of columns to arrays or lists, a ``pyarrow.Table`` or ``RecordBatch``, or a
                ``pandas.DataFrame``.

        Raises:
            DataError: the text column is missing, or the batch already has a column that predictions add.
            TypeError: a text is not a string, or the batch has another type.
        """
        library = type(batch).__module__.split(".")[0]
        if isinstance(batch, Mapping):
            self._require_columns(list(batch))
            columns = self.predictions(self._texts(batch)).to_lists()
            return {**batch, **{name: _to_numpy(column) for name, column in columns.items()}}
        if library == "pandas" and hasattr(batch, "assign"):
            self._require_columns(list(batch.columns))
            return batch.assign(**self.predictions(self._texts(batch)).to_lists())
        if library == "pyarrow" and hasattr(batch, "schema"):
            import pyarrow

            names = batch.schema.names
            self._require_columns(names)
            texts = (
                self._texts(batch) if self.classifier.is_pairs else batch.column(names.index(*self._columns))
            )
            added = self.predictions(texts).to_arrow()
            schema = batch.schema
            for name, column in added.items():
                schema = schema.append(pyarrow.field(name, column.type))
            return type(batch).from_arrays([*batch.columns, *added.values()], schema=schema)
        raise TypeError(
            f"expected a mapping, a pyarrow table or a pandas frame, found {type(batch).__name__}"
        )

    def _texts(self, batch: Any) -> list[str]:
        if self.classifier.is_pairs:
            return to_pairs({name: batch[name] for name in self._columns}, "batch", self._columns)
        (name,) = self._columns
        return to_texts(batch[name], f"batch[{name!r}]")

    def _require_columns(self, names: Sequence[str]) -> None:
        for column in self._columns:
            if column not in names:
                raise DataError(
                    f"there is no column {column!r}",
                    location="batch",
                    hint="name the column of the texts with text_column",
                )
        for name in self.added_columns():
            if name in names:
                raise DataError(
                    f"the batch has a column {name!r}, which predictions add",
                    location="batch",
                    hint="choose a prefix for the added columns",
                )


@dataclass(frozen=True)
class Predictions:
    """Predictions for ``N`` texts.

    Attributes:
        classifier: the model.
        options: the columns to make.
        probabilities: ``(N, C)`` float32.
        known: ``(N,)`` bool, whether the model knows anything of the text.
        novelty: ``(N,)`` float64 if the options ask for it, else None.
    """

    classifier: Classifier
    options: PredictionOptions
    probabilities: NDArray[np.float32]
    known: NDArray[np.bool_]
    novelty: NDArray[np.float64] | None = None

    @cached_property
    def labels(self) -> list[Any]:
        """The most probable class of each text; for multi-label models the assigned classes, best first."""
        names = self.classifier.label_names
        if not self.classifier.multi_label:
            return [names[i] for i in self.classifier.decide(self.probabilities).tolist()]
        masks = self.probabilities.astype(np.float64) >= np.array(self.classifier.thresholds)
        ranking = self._ranking(len(names)).tolist()
        return [[names[i] for i in row if mask[i]] for row, mask in zip(ranking, masks, strict=True)]

    @property
    def confidence(self) -> NDArray[np.float32]:
        """The probability of the most probable class, ``(N,)``; in a model of scores of the label."""
        if self.classifier.scale is not None:
            labels = self.classifier.decide(self.probabilities)
            return np.asarray(self.probabilities[np.arange(len(labels)), labels])
        return np.asarray(self.probabilities.max(axis=1))

    @cached_property
    def scores(self) -> NDArray[np.float32]:
        """The expected score of each text, ``(N,)``, of a model of scores."""
        return self.classifier.require_scale("score").scores(self.probabilities)

    def _ranking(self, top_k: int) -> NDArray[np.int64]:
        """The most probable classes of each text, ``(N, top_k)``."""
        return np.argsort(-self.probabilities, axis=1, kind="stable")[:, :top_k].astype(np.int64)

    def to_lists(self) -> dict[str, list[Any]]:
        """Return the columns as Python objects."""
        names, options = self.classifier.label_names, self.options
        columns: dict[str, list[Any]] = {
            self._label_column: self.labels,
            "confidence": self.confidence.tolist(),
            "known": self.known.tolist(),
        }
        if self.classifier.scale is not None:
            columns["score"] = self.scores.tolist()
        if self.novelty is not None:
            columns["novelty"] = self.novelty.tolist()
        if options.top_k > 1:
            ranking = self._ranking(options.top_k)
            top = np.take_along_axis(self.probabilities, ranking, axis=1).tolist()
            columns["top"] = [
                [{"label": names[i], "probability": p} for i, p in zip(classes, row, strict=True)]
                for classes, row in zip(ranking.tolist(), top, strict=True)
            ]
        if options.probabilities:
            rows = self.probabilities.tolist()
            columns["probabilities"] = [dict(zip(names, row, strict=True)) for row in rows]
        return {options.prefix + name: column for name, column in columns.items()}

    def to_arrow(self) -> dict[str, Any]:
        """Return the columns as ``pyarrow`` arrays."""
        import pyarrow

        label_type = pyarrow.list_(pyarrow.string()) if self.classifier.multi_label else pyarrow.string()
        columns = {self._label_column: pyarrow.array(self.labels, label_type)}
        columns["confidence"] = pyarrow.array(self.confidence)
        columns["known"] = pyarrow.array(self.known)
        if self.classifier.scale is not None:
            columns["score"] = pyarrow.array(self.scores)
        if self.novelty is not None:
            columns["novelty"] = pyarrow.array(self.novelty)
        names, options = self.classifier.label_names, self.options
        if options.top_k > 1:
            ranking = self._ranking(options.top_k)
            probabilities = np.take_along_axis(self.probabilities, ranking, axis=1)
            labels = pyarrow.array(names, pyarrow.string()).take(pyarrow.array(ranking.ravel()))
            entries = pyarrow.StructArray.from_arrays(
                [labels, pyarrow.array(probabilities.ravel())], ["label", "probability"]
            )
            offsets = np.arange(len(ranking) + 1, dtype=np.int32) * ranking.shape[1]
            columns["top"] = pyarrow.ListArray.from_arrays(pyarrow.array(offsets), entries)
        if options.probabilities:
            arrays = [pyarrow.array(np.ascontiguousarray(column)) for column in self.probabilities.T]
            columns["probabilities"] = pyarrow.StructArray.from_arrays(arrays, list(names))
        return {options.prefix + name: column for name, column in columns.items()}

    @property
    def _label_column(self) -> str:
        return "labels" if self.classifier.multi_label else "label"


def _require_support(classifier: Classifier, options: PredictionOptions) -> None:
    """Refuse options that a model does not support."""
    require(options.top_k >= 1, "top_k", "at least one class", options.top_k)
    if options.novelty and classifier.novelty_reference is None:
        raise ConfigError(
            "the model has no reference for novelty",
            location="novelty",
            hint="train it again with validation texts",
        )
    n_classes = len(classifier.label_names)
    if options.probabilities and n_classes > MAX_PROBABILITY_COLUMNS:
        raise ConfigError(
            f"expected at most {MAX_PROBABILITY_COLUMNS:,} classes, found {n_classes:,}",
            location="probabilities",
            hint="ask for the most probable classes with top_k",
        )


def _file_identity(model: str) -> tuple[str, int, int, int]:
    """The path, size, modification time and inode of a model file."""
    try:
        state = Path(model).stat()
    except (OSError, ValueError):
        return model, -1, -1, -1  # loading it raises the error
    return model, state.st_size, state.st_mtime_ns, state.st_ino


def _to_numpy(column: list[Any]) -> NDArray[Any]:
    """A column as an array; lists and dictionaries stay objects."""
    if column and isinstance(column[0], float | bool):
        return np.array(column)
    array = np.empty(len(column), dtype=object)
    array[:] = column
    return array
