"""Model cards for the Hugging Face hub: data, metrics, training command and limitations of a classifier."""

from __future__ import annotations

import html
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from token2wave.classifier import Classifier
from token2wave.errors import import_extra
from token2wave.features import PairFeatures, WordFeatures, WordPieceConfig, WordPieceFeatures
from token2wave.metrics import Evaluation
from token2wave.reporting.summary import LANGUAGES, SCORE_MEASURES, recorded_evaluation
from token2wave.training.presets import DECIDED_BY_DATA, PRESETS

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

PLAIN_FILE = "token2wave.safetensors"
TASK = "text-classification"
MAX_LABELS = 100
USAGE = {
    "token2wave": f"""Without a deep-learning framework (`pip install 'token2wave' huggingface_hub`):

```python
from token2wave.integrations.hub_models import load_from_hub

classifier = load_from_hub("REPOSITORY")  # or token2wave.load("{PLAIN_FILE}")
print(classifier.predict("TEXT").label)
```""",
    "transformers": """With `transformers` (`pip install 'token2wave[hf]'`):

```python
import token2wave.integrations.huggingface
from transformers import pipeline

print(pipeline("text-classification", model="REPOSITORY")("TEXT"))
```""",
}
SCORE_METRICS = {"spearman": "spearmanr", "mae": "mae"}
"""Types on the hub of the measures of scores."""
FILE_OPTIONS = ("teacher", "unlabelled", "init_from", "label_descriptions")
Metric = tuple[str, str | None, float | None]  # name, type on the hub, value


def model_card(
    classifier: Classifier,
    *,
    name: str = "Wave Network text classifier",
    evaluation: Evaluation | None = None,
    evaluated_on: str = "test",
    dataset: str | None = None,
    license: str | None = None,
    language: str | Sequence[str] | None = None,
    command: str | None = None,
    caveats: Sequence[str] = (),
    repo_id: str = "REPOSITORY",
    files: Sequence[str] = tuple(USAGE),
) -> ModelCard:
    """Write a classifier's card in the form of the hub: YAML, then Markdown.

    The metrics are those of ``evaluation``, or else those in the training record.

    Args:
        classifier: the model.
        name: title of the card.
        evaluation: metrics on labelled texts, from :func:`token2wave.evaluate` or a training summary.
        evaluated_on: the split of ``evaluation``.
        dataset: name of the training data on the hub.
        license: the model's license as the hub names it, e.g. ``apache-2.0``. The data may restrict the
            choice.
        language: code of the texts' language, or several.
        command: the training command; by default made from the training record.
        caveats: sentences to print beside the metrics, e.g. those of the training summary.
        repo_id: the repository, for the code in the card.
        files: which files are beside the card: ``token2wave``, ``transformers`` or both.

    Raises:
        MissingExtraError: ``huggingface_hub`` is not installed.
    """
    with import_extra("hub", "a model card", "huggingface_hub"):
        from huggingface_hub import EvalResult, ModelCard, ModelCardData

    record = classifier.training
    metrics, place = _metrics(classifier, evaluation, evaluated_on)
    data_name = dataset or "unknown"
    is_current = evaluation is not None or "updates" not in record
    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=data_name,
            dataset_name=data_name,
            dataset_split=place.split(",")[0],
            metric_type=metric_type,
            metric_name=metric_name[0].upper() + metric_name[1:],
            metric_value=round(value, 4),
        )
        for metric_name, metric_type, value in metrics
        if is_current and metric_type is not None and value is not None
    ]
    data = ModelCardData(
        license=license,
        language=language if isinstance(language, str | None) else list(language),
        library_name="transformers" if "transformers" in files else "token2wave",
        pipeline_tag=TASK,
        tags=["token2wave", "wave-network", TASK],
        datasets=None if dataset is None else [dataset],
        metrics=sorted({result.metric_type for result in results}) or None,
        model_name=name,
        eval_results=results or None,
    )
    if not is_current:
        place += ", before it was updated"
    sections = [
        f"# {_escape(name)}",
        _introduction(classifier),
        "## Use",
        *(USAGE[file].replace("REPOSITORY", repo_id) for file in files),
        "## Data",
        _data(classifier, dataset),
        "## Metrics",
        _metric_table(metrics, place, caveats),
        "## Training",
        _training(classifier, command),
        "## Limitations",
        "\n".join(f"- {sentence}" for sentence in _limitations(classifier)),
    ]
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(map(str.strip, sections)) + "\n")


def training_command(classifier: Classifier, data: str = "DATA") -> str | None:
    """Return the command that trains the model again, or None if its training record does not suffice.

    The command has every setting that differs from the preset, including those that the data decided.

    Args:
        classifier: the model.
        data: name of the data, which a model file does not hold.
    """
    record = classifier.training
    preset = PRESETS.get(str(record.get("preset")))
    if preset is None or not isinstance(record.get("recipe"), Mapping):
        return None
    command = ["token2wave", "train", data, "--out", PLAIN_FILE]
    command += ["--preset", preset.name, "--seed", str(record.get("seed", 0))]
    if classifier.multi_label:
        command += ["--multi-label"]
    if classifier.scale is not None:
        command += ["--target", classifier.scale.target]
    if isinstance(classifier.features, PairFeatures):
        command += ["--pair", *(["--symmetric"] if classifier.features.config.symmetric else [])]
    if record.get("stream"):
        command += ["--stream", "--memory", str(record["stream"]["memory"])]
    if not record.get("prior") and isinstance(classifier.features, WordFeatures | PairFeatures):
        command += ["--no-prior"]
    vocabulary = getattr(classifier.features.config, "vocabulary", None)
    options = {
        **{
            name: record.get(name)
            for name in ("weight_column", "group_column", "class_weights", "label_separator")
        },
        **{name: _base_name(record[name]) for name in FILE_OPTIONS if record.get(name)},
        "vocabulary": None if vocabulary == WordPieceConfig().vocabulary else vocabulary,
    }
    for name, value in options.items():
        if value is not None:
            command += [f"--{name.replace('_', '-')}", _to_text(value)]
    network = preset.network_config(1, 2, ()).to_dict()
    defaults = _flatten(features=preset.features.to_dict(), network=network, recipe=preset.recipe.to_dict())
    features, network = classifier.features.config.to_dict(), classifier.network.config.to_dict()
    settings = _flatten(features=features, network=network, recipe=record["recipe"])
    for name, value in settings.items():
        if name not in (*DECIDED_BY_DATA, "network.multi_label") and defaults.get(name, value) != value:
            command += ["--set", f"{name}={value}"]
    return shlex.join(command)


def _flatten(**sections: Mapping[str, Any]) -> dict[str, str]:
    """Return all settings as text, by full name."""
    return {f"{name}.{key}": _to_text(value) for name in sections for key, value in sections[name].items()}


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _base_name(name: Any) -> str:
    """Remove the folders of the machine from a file's name."""
    return os.path.basename(str(name)) if os.path.isabs(str(name)) else str(name)


def _metrics(
    classifier: Classifier, evaluation: Evaluation | None, evaluated_on: str
) -> tuple[list[Metric], str]:
    """Metrics of an evaluation, or else of the one in the training record, and the rows that they are of."""
    accuracy = "exact match" if classifier.multi_label else "accuracy"
    recorded = recorded_evaluation(classifier.training) or {"evaluated_on": "", "rows": 0}
    if classifier.scale is not None:
        if evaluation is not None and evaluation.scores is not None:
            recorded = {"evaluated_on": evaluated_on, **asdict(evaluation.scores)}
        metrics: list[Metric] = [
            (name, SCORE_METRICS[key], recorded.get(key)) for key, name in SCORE_MEASURES.items()
        ]
        return metrics, f"{recorded['evaluated_on']}, {recorded['rows']:,} texts"
    if evaluation is None:
        types = {"accuracy": accuracy, "macro_f1": "macro-F1", "micro_f1": "micro-F1"}
        metrics = [
            (name, "accuracy" if measure == "accuracy" else "f1", recorded.get(measure))
            for measure, name in types.items()
        ]
        return metrics, f"{recorded['evaluated_on']}, {recorded['rows']:,} texts"
    metrics = [
        (accuracy, "accuracy", evaluation.accuracy),
        ("macro-F1", "f1", evaluation.macro_f1),
        ("micro-F1", "f1", evaluation.micro_f1),
        ("Hamming loss", None, evaluation.hamming_loss),
        ("expected calibration error", None, evaluation.calibration_error),
    ]
    return metrics, f"{evaluated_on}, {evaluation.rows:,} texts"


def _introduction(classifier: Classifier) -> str:
    names = classifier.label_names
    labels = ", ".join(_code(name) for name in names[:MAX_LABELS])
    more = f" and {len(names) - MAX_LABELS:,} more" if len(names) > MAX_LABELS else ""
    if classifier.scale is not None:
        number = f"a score from {classifier.scale.lowest:g} to {classifier.scale.highest:g}, and one of these"
    else:
        number = "any number of these labels, or none" if classifier.multi_label else "one of these labels"
    return (
        "A [Wave Network](https://arxiv.org/abs/2411.02674), trained from scratch with `token2wave`. "
        f"It gives a text {number}: {labels}{more}."
    )


def _data(classifier: Classifier, dataset: str | None) -> str:
    record = classifier.training
    if not isinstance(record.get("rows"), int):
        return "The training record says nothing about the data."
    name = f" of {_code(dataset)} on the hub" if dataset else ""
    sentences = [f"Trained on {record['rows']:,} labelled texts{name}."]
    if record.get("teacher"):
        sentences += ["It also learnt from a teacher's probabilities."]
    if record.get("prior"):
        sentences += [f"Its words start from the language prior for {LANGUAGES[record['prior']]}."]
    if record.get("weighted"):
        sentences += ["Its texts have weights."]
    for update in record.get("updates", []):
        sentences += [f"Updated with {update['rows']:,} texts ({update['parts']})."]
    return " ".join(sentences)


def _metric_table(metrics: Sequence[Metric], place: str, caveats: Sequence[str]) -> str:
    rows = [f"| {name} | {_escape(place)} | {value:.4f} |" for name, _, value in metrics if value is not None]
    if not rows:
        return "None are known."
    lines = ["| metric | on | value |", "|---|---|---|", *rows]
    if place.startswith(("held-out", "cross-validation")):
        lines += ["", "These rows chose nothing: neither epochs nor weights of branches."]
    return "\n".join([*lines, *(f"\n{_escape(caveat)}" for caveat in caveats)])


def _training(classifier: Classifier, command: str | None) -> str:
    command = command or training_command(classifier)
    settings = {
        "features": {"kind": classifier.features.type_name, **classifier.features.config.to_dict()},
        "network": classifier.network.config.to_dict(),
        "recipe": classifier.training.get("recipe"),
    }
    count = classifier.network.parameter_count()
    written_by = ", ".join(f"{package} {version}" for package, version in classifier.written_by.items())
    blocks = [
        "" if command is None else f"```console\n$ {command}\n```",
        f"{count.total:,} parameters, {count.without_embedding:,} without the embedding. All settings:",
        f"```json\n{json.dumps(settings, indent=2)}\n```",
        "It was compressed after training." if classifier.encoded else "",
        f"Trained with {_escape(written_by)}." if written_by else "",
    ]
    return "\n\n".join(filter(None, blocks))


def _limitations(classifier: Classifier) -> list[str]:
    """What holds for every model, and what follows from this one's settings."""
    features = classifier.features
    sentences = ["It knows what its training texts said, and little of other topics, times and languages."]
    if classifier.network.config.n_oov:
        sentences += [
            "Of words that the training texts lack, it knows some character n-grams, but no meaning."
        ]
    elif isinstance(features, WordFeatures):
        sentences += ["It ignores words that the training texts lack, however similar to known ones."]
    elif isinstance(features, WordPieceFeatures):
        sentences += [f"It reads only the first {features.config.max_tokens} tokens of a text."]
    if classifier.is_pairs:
        sentences += ["It compares two texts by the words and n-grams that both have, or one alone."]
    elif not classifier.network.config.uses_order:
        has_ngrams = isinstance(features, WordFeatures) and features.config.ngrams > 1
        beyond = ", beyond its n-grams of words" if has_ngrams else ""
        sentences += [f"The order of a text's words makes no difference{beyond}."]
    sentences += ["Its probabilities are calibrated on validation rows, and hold for texts of that kind."]
    if classifier.novelty_reference is not None:
        sentences += ["`classifier.predict(text, novelty=True)` says how unlike the training texts it is."]
    return sentences


def _escape(text: str) -> str:
    """Return any string as Markdown text on one line, also in a table."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{c}" if c in "\\`*_[]|#" else c for c in escaped)


def _code(text: str) -> str:
    return f"<code>{_escape(text)}</code>"
