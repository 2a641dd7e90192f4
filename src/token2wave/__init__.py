"""token2wave: tiny, exact, explainable text classifiers with the Wave Network.

The public names are imported when they are first used, so importing the package is quick and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from token2wave.errors import Token2WaveError, import_extra
from token2wave.versions import __version__

if TYPE_CHECKING:
    from token2wave.classifier import Classifier as Classifier
    from token2wave.classifier import load as load
    from token2wave.compression import Compression as Compression
    from token2wave.compression import compress as compress
    from token2wave.evaluation import evaluate as evaluate
    from token2wave.explanation import Explanation as Explanation
    from token2wave.inference.compiled import (
        CompiledNetwork as CompiledNetwork,
    )
    from token2wave.inference.compiled import (
        compile_network as compile_network,
    )
    from token2wave.inference.prediction import Prediction as Prediction
    from token2wave.inference.state import SlidingWindow as SlidingWindow
    from token2wave.inference.state import State as State
    from token2wave.integrations.sklearn import WaveClassifier as WaveClassifier
    from token2wave.models import WaveConfig as WaveConfig
    from token2wave.models import WaveNetwork as WaveNetwork
    from token2wave.options import DataOptions as DataOptions
    from token2wave.options import TrainOptions as TrainOptions
    from token2wave.pipeline import TrainingResult as TrainingResult
    from token2wave.pipeline import train as train
    from token2wave.scoring.batch_predictor import BatchPredictor as BatchPredictor
    from token2wave.scoring.job import ScoringSummary as ScoringSummary
    from token2wave.scoring.score import score as score
    from token2wave.training.incremental import update as update
    from token2wave.training.recipe import Recipe as Recipe

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
    "TrainingResult": "token2wave.pipeline",
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

__all__ = [*_HOME, "Token2WaveError", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with import_extra("torch", f"token2wave.{name}", "torch"):
        return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
