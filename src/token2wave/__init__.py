"""token2wave: tiny, exact, explainable text classifiers with the Wave Network.

The public names are loaded when they are first used, so that importing the package is quick and does
not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from token2wave.errors import Token2WaveError
from token2wave.versions import __version__

if TYPE_CHECKING:
    from token2wave.classifier import Classifier, load
    from token2wave.compression import Compression, compress
    from token2wave.evaluation import evaluate
    from token2wave.explanation import Explanation
    from token2wave.inference.compiled import CompiledNetwork, compile_network
    from token2wave.inference.prediction import Prediction
    from token2wave.inference.state import SlidingWindow, State
    from token2wave.integrations.sklearn import WaveClassifier
    from token2wave.models import WaveConfig, WaveNetwork
    from token2wave.options import DataOptions, TrainOptions
    from token2wave.pipeline import train
    from token2wave.scoring.batch_predictor import BatchPredictor
    from token2wave.scoring.job import ScoringSummary
    from token2wave.scoring.score import score
    from token2wave.training.incremental import update
    from token2wave.training.recipe import Recipe
    from token2wave.training.result import TrainingResult

_HOME = {
    "BatchPredictor": "token2wave.scoring.batch_predictor",
    "Classifier": "token2wave.classifier",
    "Compression": "token2wave.compression",
    "Explanation": "token2wave.explanation",
    "Prediction": "token2wave.inference.prediction",
    "Recipe": "token2wave.training.recipe",
    "ScoringSummary": "token2wave.scoring.job",
    "SlidingWindow": "token2wave.inference.state",
    "State": "token2wave.inference.state",
    "CompiledNetwork": "token2wave.inference.compiled",
    "DataOptions": "token2wave.options",
    "TrainOptions": "token2wave.options",
    "TrainingResult": "token2wave.training.result",
    "WaveClassifier": "token2wave.integrations.sklearn",
    "WaveConfig": "token2wave.models",
    "WaveNetwork": "token2wave.models",
    "compile_network": "token2wave.inference.compiled",
    "compress": "token2wave.compression",
    "evaluate": "token2wave.evaluation",
    "load": "token2wave.classifier",
    "score": "token2wave.scoring.score",
    "train": "token2wave.pipeline",
    "update": "token2wave.training.incremental",
}

__all__ = [
    "BatchPredictor",
    "Classifier",
    "CompiledNetwork",
    "Compression",
    "DataOptions",
    "Explanation",
    "Prediction",
    "Recipe",
    "ScoringSummary",
    "SlidingWindow",
    "State",
    "Token2WaveError",
    "TrainOptions",
    "TrainingResult",
    "WaveClassifier",
    "WaveConfig",
    "WaveNetwork",
    "__version__",
    "compile_network",
    "compress",
    "evaluate",
    "load",
    "score",
    "train",
    "update",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from token2wave.errors import MissingExtraError

        raise MissingExtraError("torch", "train", purpose=f"token2wave.{name}") from error


def __dir__() -> list[str]:
    return __all__
