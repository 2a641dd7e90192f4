"""``Trainer`` and ``pipeline`` of transformers."""

import numpy as np
import pytest
import torch
from huggingface_cases import TEXTS, corpus, trained
from transformers import Trainer, TrainingArguments, pipeline

from token2wave.integrations.huggingface import (
    WaveForSequenceClassification,
    WaveTokenizer,
    export_huggingface,
    from_huggingface,
    from_preset,
    to_huggingface,
)

# An older transformers suspects the clock of a disk that two checkpoints reach within a second.
pytestmark = pytest.mark.filterwarnings("ignore:mtime may not be reliable:UserWarning")


def arguments(folder, **others):
    return TrainingArguments(
        str(folder),
        learning_rate=1e-2,
        per_device_train_batch_size=16,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        save_total_limit=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        **others,
    )


def rows_of(tokenizer, texts, labels):
    return [{**tokenizer(text), "labels": label} for text, label in zip(texts, labels, strict=True)]


def test_trainer_and_conversion(tmp_path):
    train = corpus().train
    names = sorted(set(train.labels))
    numbers = [names.index(label) for label in train.labels]
    torch.manual_seed(0)
    model, tokenizer = from_preset("fast", train.texts[:300], names, settings={"network.width": 16})
    rows = rows_of(tokenizer, train.texts, numbers)
    trainer = Trainer(
        model,
        arguments(tmp_path, num_train_epochs=2, metric_for_best_model="accuracy"),
        train_dataset=rows[:300],
        eval_dataset=rows[300:],
        processing_class=tokenizer,
        compute_metrics=lambda prediction: {
            "accuracy": float((prediction.predictions.argmax(1) == prediction.label_ids).mean())
        },
    )
    trainer.train()
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert losses[1] < losses[0] < 1.09  # the logarithm of three classes is 1.0986
    figures = trainer.evaluate()
    assert figures["eval_accuracy"] > 0.8
    trainer.save_model(tmp_path / "best")
    loaded = WaveForSequenceClassification.from_pretrained(tmp_path / "best")
    classifier = from_huggingface(loaded, WaveTokenizer.from_pretrained(tmp_path / "best"))
    prediction = trainer.predict(rows[300:]).predictions
    actual = classifier.probabilities(train.texts[300:])
    assert np.abs(torch.tensor(prediction).softmax(dim=1).numpy() - actual).max() < 1e-5
    assert classifier.computes_with != "torch"
    classifier.save(tmp_path / "model.safetensors")


def test_trainer_continues_a_multi_label_model(tmp_path):
    train = corpus().train
    classifier = trained("several labels")
    model, tokenizer = to_huggingface(classifier)
    labels = np.array(classifier.label_names) == np.array(train.labels)[:, None]
    labels &= np.array([len(text) % 3 > 0 for text in train.texts])[:, None]
    rows = rows_of(tokenizer, train.texts, labels.astype(np.float32).tolist())
    trainer = Trainer(
        model,
        arguments(tmp_path, num_train_epochs=1),
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=tokenizer,
    )
    loss_before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < loss_before
    assert from_huggingface(model, tokenizer).thresholds == classifier.thresholds


@pytest.mark.parametrize("kind", ["small", "paper", "several labels"])
def test_the_pipeline_gives_the_classifiers_probabilities(kind, tmp_path):
    classifier = trained(kind)
    export_huggingface(classifier, tmp_path / "model")
    classify = pipeline("text-classification", model=str(tmp_path / "model"), device="cpu")
    texts = [*TEXTS, *corpus().train.texts[:10]]
    expected = classifier.probabilities(texts)
    for batch_size in (1, 4):
        actual = classify(texts, top_k=None, batch_size=batch_size)
        for row, prediction in zip(expected, actual, strict=True):
            by_name = {entry["label"]: entry["score"] for entry in prediction}
            assert list(by_name.values()) == sorted(by_name.values(), reverse=True)
            assert np.abs(np.array([by_name[name] for name in classifier.label_names]) - row).max() < 1e-5
    best = classify(texts, batch_size=4)
    assert [prediction["label"] for prediction in best] == [classifier.predict(text).label for text in texts]
    assert len(classify(TEXTS[0], top_k=2)) == 2
    assert classify(TEXTS[0], truncation=True) == classify(TEXTS[0])
