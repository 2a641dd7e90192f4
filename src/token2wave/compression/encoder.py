"""Encodes a model in fewer bytes. It needs no texts: which rows to drop beforehand is decided elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import Classifier
from token2wave.compression.fitting import encode_rows, encode_table, fit_step, fit_step_quickly
from token2wave.features import Features, WordFeatures
from token2wave.inference.loading import build_network
from token2wave.inference.reference import EMBEDDING, OOV
from token2wave.models.wave_config import WaveConfig
from token2wave.score_scale import ScoreScale
from token2wave.storage.encodings import EncodedArray, as_delta_varint, as_float16
from token2wave.storage.model_file import FEATURE_PREFIX, ModelFile, size_of_model_file

BUCKETS, OOV_HASHES = FEATURE_PREFIX + "buckets", FEATURE_PREFIX + "oov_hashes"
OOV_FRACTION = 0.125  # of the limit, at most, for the OOV table
HEADER_BYTES = 500  # of rows and buckets in the file's header

Arrays = dict[str, NDArray[np.float32]]


class RetrainDecision(NamedTuple):
    """What the validation texts decided when the remaining rows were retrained."""

    best_epoch: int
    branch_weights: tuple[float, ...]
    thresholds: tuple[float, ...]
    scale: ScoreScale | None = None


class ModelEncoder:
    """Encodes the parameters of one model."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.config, self.arrays = classifier.network.config, classifier.network.arrays()

    def overhead(self, features: Features, arrays: Arrays, storage: str) -> int:
        """Bytes of the file beside rows and buckets."""
        encoded = self._encode_others(features, arrays, storage)
        file = self._classifier(features, arrays, encoded, storage, None).to_file()
        left_out = {EMBEDDING}
        if isinstance(features, WordFeatures):
            left_out.add(BUCKETS)
        tensors = {name: array for name, array in file.tensors.items() if name not in left_out}
        return final_size(replace(file, tensors=tensors)) + HEADER_BYTES

    def encode(
        self,
        features: Features,
        arrays: Arrays,
        storage: str,
        limit: int | None,
        decision: RetrainDecision | None = None,
        *,
        keep_rows: bool = False,
        quickly: bool = False,
    ) -> Classifier | None:
        """Make a model of features and encoded parameters; None if it is larger than the limit.

        Args:
            features: of the rows in ``arrays``.
            arrays: the parameters, with rows ``(V, R)``.
            storage: ``float32``, ``float16``, ``int8`` or ``lzma``.
            limit: largest size of the file in bytes.
            decision: what retraining chose, if the rows were retrained.
            keep_rows: whether also rows stay that lzma rounds to zero.
            quickly: whether a sample of the rows chooses the step of lzma.
        """
        encoded, rows = self._encode_others(features, arrays, storage), arrays[EMBEDDING]
        words = features if isinstance(features, WordFeatures) else None
        if storage == "lzma":
            may_drop = words is not None and not words.config.cls and limit is not None and not keep_rows
            budget = None if limit is None else limit - self.overhead(features, arrays, storage)
            if budget is not None and words is not None and not may_drop:
                budget -= len(as_delta_varint(words.buckets).parts[""])
            buckets = words.buckets if words is not None and may_drop else None
            fit = fit_step_quickly if quickly else fit_step
            fitted = fit(rows, buckets, None if budget is None else max(budget, 1))
            if fitted is None:
                return None
            encoded[EMBEDDING] = fitted.rows
            if words is not None and not fitted.mask.all():  # rows of zeros
                features = words = WordFeatures(words.config, words.buckets[fitted.mask], words.oov_hashes)
                arrays = {**arrays, EMBEDDING: rows[fitted.mask]}
        elif storage != "float32":
            encoded[EMBEDDING] = encode_rows(rows, storage)
        if words is not None:
            encoded[BUCKETS] = as_delta_varint(words.buckets)
        decoded = {
            name: encoded[name].decoded() if name in encoded else array for name, array in arrays.items()
        }
        model = self._classifier(features, decoded, encoded, storage, decision)
        return model if limit is None or final_size(model.to_file()) <= limit else None

    def _encode_others(self, features: Features, arrays: Arrays, storage: str) -> dict[str, EncodedArray]:
        """Encode all parameters but the rows: in half precision, unless the storage is float32."""
        encoded: dict[str, EncodedArray] = {}
        if storage != "float32":
            encoded = {name: as_float16(array) for name, array in arrays.items() if name != EMBEDDING}
        if OOV in arrays and storage != "float32":
            own = self.classifier.encoded.get(OOV)
            if own is not None and np.array_equal(own.decoded(), arrays[OOV]):
                encoded[OOV] = own
            else:
                encoded[OOV] = encode_table(arrays[OOV], storage)
        if isinstance(features, WordFeatures) and OOV in arrays:
            encoded[OOV_HASHES] = as_delta_varint(features.oov_hashes)
        return encoded

    def _classifier(
        self,
        features: Features,
        arrays: Arrays,
        encoded: dict[str, EncodedArray],
        storage: str,
        decision: RetrainDecision | None,
    ) -> Classifier:
        """Make a classifier of encoded parameters. Its evaluation is added to the record later."""
        old = self.classifier
        sentence_ends = features.sentence_ends if self.config.variants == "levels" else ()
        config = self.config.replace(
            n_rows=features.n_rows, n_oov=len(arrays.get(OOV, ())), sentence_ends=sentence_ends
        )
        record = {
            **old.training,
            "history": [],
            "branch_weights": decision.branch_weights if decision else old.training.get("branch_weights", []),
            "best_epoch": decision.best_epoch if decision else None,
            "evaluation": None,
            "compression": {
                "storage": storage,
                "retrained": decision is not None,
                "rows_before": old.features.n_rows,
            },
        }
        return replace(
            old,
            features=features,
            network=build_network(config, arrays, "cpu"),
            training=record,
            encoded=encoded,
            thresholds=decision.thresholds if decision else old.thresholds,
            scale=decision.scale if decision else old.scale,
        )


def final_size(file: ModelFile) -> int:
    """Bytes of a model file once its record has its evaluation."""
    figure = round(1 / 3, 6)
    evaluation = {"evaluated_on": "cross-validation", "rows": 1_000_000_000, "interval": [figure] * 2}
    evaluation |= dict.fromkeys(("accuracy", "macro_f1", "micro_f1"), figure)
    return size_of_model_file(replace(file, training={**file.training, "evaluation": evaluation}))


def prune_oov(classifier: Classifier, limit: int | None) -> Classifier:
    """Drop the smallest entries of the OOV table if it takes more than an eighth of the limit."""
    old, features = classifier.network.config, classifier.features
    if limit is None or not isinstance(features, WordFeatures):
        return classifier
    features, config, arrays = prune_oov_table(features, old, classifier.network.arrays(), limit)
    if config == old:
        return classifier
    encoded = {name: array for name, array in classifier.encoded.items() if name not in (OOV, OOV_HASHES)}
    return replace(
        classifier, features=features, network=build_network(config, arrays, "cpu"), encoded=encoded
    )


def prune_oov_table(
    features: WordFeatures, config: WaveConfig, arrays: Arrays, limit: int
) -> tuple[WordFeatures, WaveConfig, Arrays]:
    """Return features, settings and arrays without the smallest entries of the OOV table."""
    if not config.n_oov:
        return features, config, arrays
    weights, hashes = arrays[OOV], features.oov_hashes
    parts = as_delta_varint(hashes).parts[""], encode_table(weights, "lzma").parts[""]
    n_entries = int(len(hashes) * OOV_FRACTION * limit / sum(map(len, parts)))
    if n_entries >= len(hashes):
        return features, config, arrays
    strongest = np.sort(np.argsort(-np.abs(weights).max(axis=1), kind="stable")[:n_entries])
    arrays = {name: array for name, array in arrays.items() if name != OOV}
    if n_entries:
        arrays[OOV] = weights[strongest]
    return features.with_oov(hashes[strongest]), config.replace(n_oov=n_entries), arrays
