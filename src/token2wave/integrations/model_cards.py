"""Model cards: what a classifier was trained on, how good it is, how to make it again, and where it ends."""

from __future__ import annotations

import html
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from token2wave.classifier import Classifier
from token2wave.errors import MissingExtraError
from token2wave.features import WordFeatures, WordPieceConfig
from token2wave.metrics import Evaluation
from token2wave.models.wave_config import WaveConfig
from token2wave.training.presets import PRESETS

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard

PLAIN_FILE = "token2wave.safetensors"
TRAINED = WordPieceConfig().vocabulary  # on the texts, not from a file
TASK = "text-classification"
DATA_DECIDES = ("n_rows", "n_classes", "sentence_ends", "multi_label")
LABELS_SHOWN = 100
HELD_BACK = "rows held back from training"
FLATTERING = "Rows held back chose epochs and calibration: their figures flatter the model."

USE_PLAIN = f"""Without a deep-learning framework (`pip install 'token2wave' huggingface_hub`):

```python
from token2wave.integrations.hub_models import load_from_hub

classifier = load_from_hub("REPOSITORY")  # or token2wave.load("{PLAIN_FILE}")
print(classifier.predict("TEXT").label)
```
"""
USE_TRANSFORMERS = """With `transformers` (`pip install 'token2wave[hf]'`):

```python
import token2wave.integrations.huggingface
from transformers import pipeline

print(pipeline("text-classification", model="REPOSITORY")("TEXT"))
```
"""
ALL_USES = {"token2wave": USE_PLAIN, "transformers": USE_TRANSFORMERS}


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
    files: Sequence[str] = tuple(ALL_USES),
) -> ModelCard:
    """Write a classifier's card in the form of the hub: YAML, then Markdown.

    Figures are those of ``evaluation``, and those of the rows that were held back, from the classifier's own
    record; none is made up, and what is not known is left out.

    Args:
        classifier: the model.
        name: title of the card.
        evaluation: figures on labelled texts, from :func:`token2wave.evaluate` or a training's summary.
        evaluated_on: the part of the data that ``evaluation`` is of.
        dataset: name that the hub knows the training data by.
        license: identifier that the hub knows, e.g. ``apache-2.0``: of this model, which the data may have a
            say in. The package cannot know it.
        language: code of the texts' language, or several.
        command: that trained it; made from the record, if not given.
        caveats: sentences that have to stand beside the figures, as a training's summary has them.
        repo_id: where the card will lie, for the code in it.
        files: what lies beside it, ``token2wave``, ``transformers`` or both.

    Raises:
        MissingExtraError: ``huggingface_hub`` is not installed.
    """
    try:
        from huggingface_hub import ModelCard, ModelCardData
    except ModuleNotFoundError as error:
        if error.name != "huggingface_hub":
            raise
        raise MissingExtraError("huggingface_hub", "hf", purpose="a model card") from error
    results = _results(classifier, evaluation, evaluated_on, dataset)
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
    parts = [
        f"# {_plain(name)}",
        _introduction(classifier),
        "## Use",
        *(ALL_USES[file].replace("REPOSITORY", repo_id) for file in files),
        "## Data",
        _data(classifier, dataset),
        "## Figures",
        _figures(classifier, evaluation, evaluated_on, caveats),
        "## Training",
        _training(classifier, command),
        "## Limitations",
        "\n".join(f"- {sentence}" for sentence in _limitations(classifier)),
    ]
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(part.strip() for part in parts) + "\n")


def training_command(classifier: Classifier, data: str | None = None) -> str | None:
    """The command that trains such a model again, made from its record; None if the record does not say.

    Every setting in which it differs from its preset is in it, those that the data decided included.

    Args:
        classifier: the model.
        data: what the data is called now; its name in the record, which of a file lacks folder and ending, if
            not given.
    """
    record = classifier.training
    preset = PRESETS.get(str(record.get("preset")))
    if preset is None or "data" not in record or not isinstance(record.get("recipe"), Mapping):
        return None
    words = [
        "token2wave",
        "train",
        data or _without_folders(record["data"]),
        "--out",
        PLAIN_FILE,
        "--preset",
        preset.name,
    ]
    words += ["--seed", str(record.get("seed", 0))]
    if record.get("weight_column"):
        words += ["--weight-column", str(record["weight_column"])]
    if record.get("class_weights") is not None:
        words += ["--class-weights", _value(record["class_weights"])]
    if classifier.multi_label:
        words += ["--multi-label"]
    if record.get("stream"):
        words += ["--stream", "--memory", str(record["stream"]["memory"])]
    if record.get("label_separator"):
        words += ["--label-separator", str(record["label_separator"])]
    for option in ("teacher", "unlabelled", "init_from"):
        if record.get(option):
            words += [f"--{option.replace('_', '-')}", _without_folders(record[option])]
    vocabulary = getattr(classifier.features.config, "vocabulary", TRAINED)
    if vocabulary != TRAINED:
        words += ["--vocabulary", vocabulary]
    defaults = WaveConfig(n_rows=1, n_classes=2).to_dict()
    network = {**defaults, **preset.network}
    usual = {"features": preset.features.to_dict(), "network": network, "recipe": preset.recipe.to_dict()}
    found = {
        "features": classifier.features.config.to_dict(),
        "network": {**defaults, **classifier.network.config.to_dict()},
        "recipe": record["recipe"],
    }
    for part, settings in found.items():
        for key, value in settings.items():
            if key not in DATA_DECIDES and key in usual[part] and _value(usual[part][key]) != _value(value):
                words += ["--set", f"{part}.{key}={_value(value)}"]
    return shlex.join(words)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _without_folders(name: Any) -> str:
    """A name, without the folders of the machine that it lay on."""
    return os.path.basename(str(name)) if os.path.isabs(str(name)) else str(name)


def _updates(classifier: Classifier) -> list[Mapping[str, Any]]:
    """What the model has learnt since it was trained."""
    return list(classifier.training.get("updates", []))


def _results(
    classifier: Classifier, evaluation: Evaluation | None, evaluated_on: str, dataset: str | None
) -> list[EvalResult]:
    """Figures as the hub's index of results has them."""
    from huggingface_hub import EvalResult

    record = classifier.training
    data = _without_folders(record.get("data", "unknown"))
    found: list[tuple[str, str, str, float]] = []
    if evaluation is not None:
        found += [("accuracy", "Accuracy", evaluated_on, evaluation.accuracy)]
        found += [("f1", "Macro-F1", evaluated_on, evaluation.macro_f1)]
        if evaluation.micro_f1 is not None:
            found += [("f1", "Micro-F1", evaluated_on, evaluation.micro_f1)]
    elif isinstance(record.get("validation_accuracy"), float) and not _updates(classifier):
        found += [("accuracy", "Accuracy", "validation", record["validation_accuracy"])]
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=dataset or data,
            dataset_name=data,
            dataset_split=split,
            metric_type=kind,
            metric_name=named,
            metric_value=round(value, 4),
        )
        for kind, named, split, value in found
    ]


def _introduction(classifier: Classifier) -> str:
    names = classifier.label_names
    shown = ", ".join(_code(name) for name in names[:LABELS_SHOWN])
    more = f" and {len(names) - LABELS_SHOWN:,} more" if len(names) > LABELS_SHOWN else ""
    gives = (
        "gives a text any number of these labels, or none"
        if classifier.multi_label
        else "gives a text one of these labels"
    )
    return (
        "A [Wave Network](https://arxiv.org/abs/2411.02674), trained from scratch with `token2wave`, that "
        f"{gives}: {shown}{more}."
    )


def _data(classifier: Classifier, dataset: str | None) -> str:
    record = classifier.training
    if "data" not in record:
        return "The record of this model does not say what it was trained on."
    named = _code(_without_folders(record["data"])) + (f" ({dataset} on the hub)" if dataset else "")
    rows = f", {record['rows']:,} labelled texts" if isinstance(record.get("rows"), int) else ""
    sentences = [f"Trained on {named}{rows}."]
    if record.get("teacher"):
        sentences += ["It also learnt from a teacher's probabilities."]
    if record.get("weighted"):
        sentences += ["Its texts have weights of their own."]
    for update in _updates(classifier):
        name = _code(_without_folders(update["data"]))
        sentences += [f"It went on learning from {update['rows']:,} texts of {name} ({update['parts']})."]
    return " ".join(sentences)


def _figures(
    classifier: Classifier, evaluation: Evaluation | None, evaluated_on: str, caveats: Sequence[str]
) -> str:
    part = f"{evaluated_on}, {0 if evaluation is None else evaluation.rows:,} texts"
    rows: list[tuple[str, str, Any]] = []
    if evaluation is not None:
        exact = "labels right and complete" if classifier.multi_label else "accuracy"
        rows += [(exact, part, evaluation.accuracy), ("macro-F1", part, evaluation.macro_f1)]
        rows += [("micro-F1", part, evaluation.micro_f1), ("Hamming loss", part, evaluation.hamming_loss)]
        rows += [("expected calibration error", part, evaluation.calibration_error)]
    record, held_out = classifier.training, HELD_BACK
    if _updates(classifier):
        held_out += ", before it went on learning"
    rows += [("accuracy", held_out, record.get("validation_accuracy"))]
    rows += [("micro-F1", held_out, record.get("validation_micro_f1"))]
    known = [(name, where, value) for name, where, value in rows if isinstance(value, float | int)]
    if not known:
        return "None are known."
    lines = ["| figure | on | value |", "|---|---|---|"]
    lines += [f"| {name} | {_plain(where)} | {value:.4f} |" for name, where, value in known]
    if any(where == held_out for _, where, _ in known):
        lines += ["", FLATTERING]
    return "\n".join([*lines, *(f"\n{_plain(caveat)}" for caveat in caveats)])


def _training(classifier: Classifier, command: str | None) -> str:
    command = command or training_command(classifier)
    settings = {
        "features": {"kind": classifier.features.kind, **classifier.features.config.to_dict()},
        "network": classifier.network.config.to_dict(),
        "recipe": classifier.training.get("recipe"),
    }
    count = classifier.network.parameter_count()
    parts = [] if command is None else ["```console", f"$ {command}", "```", ""]
    parts += [
        f"{count.total:,} parameters, {count.without_embedding:,} without the embedding. All settings:",
        "",
    ]
    parts += ["```json", json.dumps(settings, indent=2), "```", ""]
    parts += ["It was compressed after training.", ""] if classifier.encoded else []
    wrote = ", ".join(f"{package} {version}" for package, version in classifier.written_by.items())
    return "\n".join([*parts, f"Trained with {_plain(wrote)}." if wrote else ""])


def _limitations(classifier: Classifier) -> list[str]:
    """What holds for any such model, and what this one's settings bring with them."""
    config = classifier.network.config
    found = ["It knows what its training texts said: of other matters, times and languages it is no judge."]
    if isinstance(classifier.features, WordFeatures):
        found += ["A word that training did not have says nothing, however it is spelled."]
    else:
        found += [
            f"What follows the first {classifier.features.config.max_tokens} tokens of a text is not read."
        ]
    if not config.uses_order:
        grams = isinstance(classifier.features, WordFeatures) and classifier.features.config.ngrams > 1
        beyond = ", beyond its n-grams of words" if grams else ""
        found += [f"The order of a text's words makes no difference{beyond}."]
    found += [
        "Probabilities were calibrated on rows of the training data that were held back: they hold for texts"
        " of the same kind."
    ]
    if classifier.novelty_reference is not None:
        found += ["`classifier.predict(text, novelty=True)` tells how unlike the training texts a text is."]
    return found


def _plain(text: str) -> str:
    """Any string as text of Markdown on one line, in a table too."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{c}" if c in "\\`*_[]|#" else c for c in escaped)


def _code(text: str) -> str:
    """Any string as code, which Markdown does not look into."""
    return f"<code>{_plain(text)}</code>"
