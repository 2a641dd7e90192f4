"""Types of the public names, for editors. Written by ``tools/write_stubs.py``."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from token2wave.auditing.audit import AuditResult as AuditResult
from token2wave.classifier import Classifier as Classifier
from token2wave.classifier import load as load
from token2wave.compression import Compression as Compression
from token2wave.drift_report import DriftResult as DriftResult
from token2wave.errors import Token2WaveError as Token2WaveError
from token2wave.evaluation import EvaluationResult as EvaluationResult
from token2wave.explanation import Explanation as Explanation
from token2wave.inference.compiled import CompiledNetwork as CompiledNetwork
from token2wave.inference.compiled import compile_network as compile_network
from token2wave.inference.prediction import Prediction as Prediction
from token2wave.inference.state import SlidingWindow as SlidingWindow
from token2wave.inference.state import State as State
from token2wave.integrations.sklearn import WaveClassifier as WaveClassifier
from token2wave.integrations.sklearn import WaveTransformer as WaveTransformer
from token2wave.labelling.answers import AnswersResult as AnswersResult
from token2wave.labelling.selection import SelectionResult as SelectionResult
from token2wave.model_comparison import ComparisonResult as ComparisonResult
from token2wave.models import WaveConfig as WaveConfig
from token2wave.models import WaveNetwork as WaveNetwork
from token2wave.options import AuditOptions as AuditOptions
from token2wave.options import DataOptions as DataOptions
from token2wave.options import PathLike
from token2wave.options import TrainOptions as TrainOptions
from token2wave.pipeline import TrainingResult as TrainingResult
from token2wave.scoring.batch_predictor import BatchPredictor as BatchPredictor
from token2wave.scoring.job import ScoringSummary as ScoringSummary
from token2wave.training.callbacks import Callback
from token2wave.training.recipe import Recipe as Recipe
from token2wave.training.weighting import ClassWeights
from token2wave.versions import __version__ as __version__

def audit(
    data: Any,
    labels: Any = None,
    *,
    callbacks: Sequence[Callback] = (),
    test: Any = None,
    out: PathLike | None = None,
    seed: int = 0,
    apply: PathLike | None = None,
    max_rows: int = 1000,
    overwrite: bool = False,
    text_column: str | Sequence[str] = "text",
    text: str | Sequence[str] = ...,
    delimiter: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    quoting: str = "auto",
    label_column: str = "label",
    label: str = ...,
    weight_column: str | None = None,
    group_column: str | None = None,
    multi_label: bool | None = None,
    label_separator: str | None = None,
    normalise_labels: bool = False,
    skip_bad_rows: bool = False,
    bad_rows: str | os.PathLike[str] | None = None,
) -> AuditResult:
    """Find wrong labels, contradictions, leaks and odd texts, and say what would help."""

def compare(
    a: Classifier | str | os.PathLike[str],
    b: Classifier | str | os.PathLike[str],
    data: Any,
    labels: Any = None,
    *,
    split: str = "test",
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    text_column: str | Sequence[str] = "text",
    text: str | Sequence[str] = ...,
    delimiter: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    quoting: str = "auto",
    label_column: str = "label",
    label: str = ...,
    group_column: str | None = None,
    label_separator: str | None = None,
    normalise_labels: bool = False,
    skip_bad_rows: bool = False,
    bad_rows: str | os.PathLike[str] | None = None,
) -> ComparisonResult:
    """Compare two models on labelled data that neither has learned from."""

def compress(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    data: Any,
    test: Any = None,
    max_size: int | str | None = None,
    storage: str = "auto",
    retrain: bool = True,
    overwrite: bool = False,
    callbacks: Sequence[Callback] = (),
    text_column: str | Sequence[str] = "text",
    text: str | Sequence[str] = ...,
    delimiter: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    quoting: str = "auto",
    label_column: str = "label",
    label: str = ...,
    skip_bad_rows: bool = False,
) -> Compression:
    """Write a smaller model file."""

def drift(
    model: Classifier | str | os.PathLike[str],
    data: Any,
    *,
    reference: Any = None,
    callbacks: Sequence[Callback] = (),
    text_column: str | Sequence[str] = "text",
    text: str | Sequence[str] = ...,
    delimiter: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    quoting: str = "auto",
) -> DriftResult:
    """Compare new texts with those that a model was validated on. Labels are not needed."""

def evaluate(
    classifier: Classifier,
    data: Any,
    labels: Any = None,
    *,
    split: str = "test",
    errors: str | os.PathLike[str] | None = None,
    by: str | Sequence[str] = (),
    cut: float | None = None,
    overwrite: bool = False,
    callbacks: Sequence[Callback] = (),
    text_column: str | Sequence[str] = "text",
    text: str | Sequence[str] = ...,
    delimiter: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    quoting: str = "auto",
    label_column: str = "label",
    label: str = ...,
    label_separator: str | None = None,
    normalise_labels: bool = False,
    skip_bad_rows: bool = False,
    bad_rows: str | os.PathLike[str] | None = None,
) -> EvaluationResult:
    """Evaluate a classifier."""

def label_plan(
    data: SelectionResult | PathLike,
    labels: Sequence[str] | Classifier | PathLike,
    *,
    out: PathLike | None = None,
    prompts: PathLike | None = None,
    instructions: str | None = None,
    examples: PathLike | None = None,
    label_separator: str | None = None,
    overwrite: bool = False,
    text_column: str | Sequence[str] = "text",
    text: str | Sequence[str] = ...,
    delimiter: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    quoting: str = "auto",
) -> int:
    """Write rows to label as a sheet for people, as prompts for a language model, or both."""

def read_answers(
    data: SelectionResult | PathLike,
    labels: Sequence[str] | Classifier | PathLike,
    answers: PathLike | Sequence[PathLike],
    *,
    out: PathLike | None = None,
    labelled: PathLike | None = None,
    label_separator: str | None = None,
    overwrite: bool = False,
    text_column: str | Sequence[str] = "text",
    text: str | Sequence[str] = ...,
    delimiter: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    quoting: str = "auto",
) -> AnswersResult:
    """Read the answers to a plan, and make labelled rows with weights of them."""

def score(
    model: str | os.PathLike[str],
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    engine: str = "local",
    workers: int | None = None,
    columns: Sequence[str] | None = None,
    keep: str | None = None,
    format: str = "parquet",
    top_k: int = 1,
    probabilities: bool = False,
    novelty: bool = False,
    prefix: str = "",
    part_size: int | str = 33554432,
    callbacks: Sequence[Callback] = (),
    text_column: str | Sequence[str] = "text",
    text: str | Sequence[str] = ...,
    delimiter: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    quoting: str = "auto",
) -> ScoringSummary:
    """Predict every row of files of any size, and write the rows with their predictions."""

def select(
    model: Classifier | PathLike,
    pool: Any,
    *,
    n: int = 200,
    strategy: str = "mixture",
    out: PathLike | None = None,
    labelled: Any = None,
    previous: Classifier | PathLike | None = None,
    seed: int = 0,
    overwrite: bool = False,
    callbacks: Sequence[Callback] = (),
    text_column: str | Sequence[str] = "text",
    text: str | Sequence[str] = ...,
    delimiter: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    quoting: str = "auto",
) -> SelectionResult:
    """Choose which texts of a pool to label next."""

def train(
    data: Any = None,
    labels: Any = None,
    *,
    callbacks: Sequence[Callback] = (),
    command: str | None = None,
    preset: str = "small",
    out: PathLike | None = None,
    test: Any = None,
    validation: Any = None,
    target: str = "label",
    ordinal: bool = False,
    pair: bool = False,
    symmetric: bool = False,
    operation: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int = 0,
    device: str = "auto",
    class_weights: str | Mapping[str, float] | None = None,
    vocabulary: PathLike | None = None,
    teacher: PathLike | None = None,
    unlabelled: Any = None,
    init_from: PathLike | None = None,
    prior: bool = True,
    label_descriptions: Any = None,
    settings: Mapping[str, Any] | None = None,
    baseline: bool | None = None,
    cv: int | None = None,
    drop_suspicious: bool = False,
    reweight: bool = False,
    relabel: bool = False,
    report: PathLike | None = None,
    figures: bool = False,
    overwrite: bool = False,
    time_budget: float | str | None = None,
    candidates: int | None = None,
    max_size: int | str | None = None,
    checkpoint: PathLike | None = None,
    resume: bool = False,
    stream: bool = False,
    memory: int | str = "1GB",
    max_rejected: float = 0.01,
    text_column: str | Sequence[str] = "text",
    text: str | Sequence[str] = ...,
    delimiter: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    quoting: str = "auto",
    label_column: str = "label",
    label: str = ...,
    weight_column: str | None = None,
    group_column: str | None = None,
    multi_label: bool | None = None,
    label_separator: str | None = None,
    normalise_labels: bool = False,
    skip_bad_rows: bool = False,
    bad_rows: str | os.PathLike[str] | None = None,
) -> TrainingResult:
    """Train a text classifier."""

def update(
    classifier: Classifier,
    data: Any,
    labels: Any = None,
    *,
    weights: Any = None,
    class_weights: ClassWeights = None,
    parts: str = "all",
    epochs: int = 3,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    text_column: str | Sequence[str] = "text",
    text: str | Sequence[str] = ...,
    delimiter: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    quoting: str = "auto",
    label_column: str = "label",
    label: str = ...,
    weight_column: str | None = None,
    label_separator: str | None = None,
    normalise_labels: bool = False,
    skip_bad_rows: bool = False,
    bad_rows: str | os.PathLike[str] | None = None,
) -> Classifier:
    """Train a copy of a classifier on more rows."""
