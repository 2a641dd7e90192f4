"""The models of a service, by name, and how they are replaced."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from token2wave.classifier import load
from token2wave.errors import ConfigError
from token2wave.formatting import printable
from token2wave.inference.drift_sums import DriftSums
from token2wave.serving.bodies import Bodies, RequestError, bodies_of, quote
from token2wave.serving.limits import ServiceLimits
from token2wave.serving.page import page_html
from token2wave.serving.prometheus import ModelMetrics, ServiceMetrics

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

SUFFIX = ".safetensors"
log = logging.getLogger("token2wave.serving")


class ServedModel:
    """A model and everything that the service derives from it.

    Args:
        name: in routes, answers, log lines and metrics.
        classifier: makes the predictions.
        limits: of the service.
        metrics: of the service.
    """

    def __init__(
        self, name: str, classifier: Classifier, limits: ServiceLimits, metrics: ServiceMetrics
    ) -> None:
        self.name, self.classifier = name, classifier
        self.checksum = f"{classifier.fingerprint:08x}"
        self.tag = {"model": name, "checksum": self.checksum}
        self.bodies: Bodies = bodies_of(classifier, limits)
        nothing = [classifier.empty_text]
        classifier.probabilities(nothing)  # the first call is slow, as is the next one, which metrics need
        DriftSums.of_texts(classifier, nothing)
        # The page on which people try the model; a model of pairs has none.
        self.page = None if classifier.is_pairs else page_html(classifier, printable(name))
        # Last, when nothing can fail any more: the counters of the model before end here.
        self.counters = ModelMetrics(metrics, classifier, name)


class ModelStore:
    """Models by name.

    Args:
        models: files, folders of files, or classifiers by name. The first model is the default.
        limits: of the service.
        metrics: of the service.

    Raises:
        ConfigError: there is no model, or two have the same name.
        ModelFileError: see :func:`token2wave.load`.
    """

    def __init__(
        self,
        models: Sequence[Path] | Mapping[str, Classifier],
        limits: ServiceLimits,
        metrics: ServiceMetrics,
    ) -> None:
        self._limits, self._metrics = limits, metrics
        self._paths = () if isinstance(models, Mapping) else tuple(models)
        self._models: dict[str, ServedModel] = {}
        for name, make in self._sources(models):
            self.replace(name, make())

    @property
    def default(self) -> ServedModel:
        """The first model."""
        return next(iter(self._models.values()))

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(list(self._models.values()))

    def get(self, name: str) -> ServedModel:
        """The model of that name.

        Raises:
            RequestError: 404, there is none.
        """
        if name not in self._models:
            names = ", ".join(map(printable, list(self._models)[:10]))
            problem = f"expected the name of a model, found {quote(name)}"
            raise RequestError(404, problem, location="path", hint=f"use one of {names}")
        return self._models[name]

    def replace(self, name: str, classifier: Classifier) -> None:
        """Serve a classifier under a name; requests that are being answered keep the old one."""
        self._models[name] = ServedModel(name, classifier, self._limits, self._metrics)

    def reload(self) -> None:
        """Load all files again. One that cannot be loaded leaves its old model in place; see the log.

        Files that were added to a folder are served from then on, and models without a file no longer.
        """
        try:
            sources = self._sources(self._paths)
        except ConfigError as error:
            log.error("the old models stay: %s", error)
            return
        for name, make in sources:
            try:
                self.replace(name, make())
            except Exception as error:
                log.error("model %s: the old one stays, if there is one: %s", name, error)
            else:
                log.info("model %s: loaded %s", name, self._models[name].checksum)
        names = [name for name, _ in sources if name in self._models]
        self._models = {name: self._models[name] for name in names} or self._models

    def _sources(
        self, models: Sequence[Path] | Mapping[str, Classifier]
    ) -> list[tuple[str, Callable[[], Classifier]]]:
        named: list[tuple[str, Callable[[], Classifier]]]
        if isinstance(models, Mapping):
            named = [(name, partial(_same, classifier)) for name, classifier in models.items()]
        else:
            named = [(path.stem, partial(load, path)) for path in find_model_files(models)]
        if not named:
            raise ConfigError("expected at least one model, found none", location="models")
        return named


def _same(classifier: Classifier) -> Classifier:
    return classifier


def find_model_files(paths: Sequence[Path]) -> list[Path]:
    """The model files among files and folders, those of a folder by name.

    Raises:
        ConfigError: two files have the same name, or a folder has no model file.
    """
    files: dict[str, Path] = {}
    for path in paths:
        of_path = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not of_path:
            raise ConfigError(f"expected model files (*{SUFFIX}), found none", location=str(path))
        for file in of_path:
            if file.stem in files:
                raise ConfigError(
                    f"expected models of different names, found {files[file.stem]} and {file}",
                    location="models",
                    hint="rename one of the files",
                )
            files[file.stem] = file
    return list(files.values())
