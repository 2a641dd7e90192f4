"""token2wave: tiny, exact, explainable text classifiers with the Wave Network.

The public names are imported when they are first used, so importing the package is quick and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from token2wave.errors import Token2WaveError, import_extra
from token2wave.versions import __version__

_HOME = {
    "AuditOptions": "token2wave.options",
    "AuditResult": "token2wave.auditing.audit",
    "AnswersResult": "token2wave.labelling.answers",
    "BatchPredictor": "token2wave.scoring.batch_predictor",
    "Classifier": "token2wave.classifier",
    "ComparisonResult": "token2wave.model_comparison",
    "Compression": "token2wave.compression",
    "DriftResult": "token2wave.drift_report",
    "EvaluationResult": "token2wave.evaluation",
    "Explanation": "token2wave.explanation",
    "Prediction": "token2wave.inference.prediction",
    "Recipe": "token2wave.training.recipe",
    "ScoringSummary": "token2wave.scoring.job",
    "SelectionResult": "token2wave.labelling.selection",
    "SlidingWindow": "token2wave.inference.state",
    "State": "token2wave.inference.state",
    "CompiledNetwork": "token2wave.inference.compiled",
    "DataOptions": "token2wave.options",
    "TrainOptions": "token2wave.options",
    "TrainingResult": "token2wave.pipeline",
    "WaveClassifier": "token2wave.integrations.sklearn",
    "WaveTransformer": "token2wave.integrations.sklearn",
    "WaveConfig": "token2wave.models",
    "WaveNetwork": "token2wave.models",
    "audit": "token2wave.auditing.audit",
    "compile_network": "token2wave.inference.compiled",
    "compare": "token2wave.model_comparison",
    "compress": "token2wave.compression",
    "drift": "token2wave.drift_report",
    "evaluate": "token2wave.evaluation",
    "label_plan": "token2wave.labelling.plans",
    "load": "token2wave.classifier",
    "read_answers": "token2wave.labelling.answers",
    "score": "token2wave.scoring.score",
    "select": "token2wave.labelling.selection",
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
