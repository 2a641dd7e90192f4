"""The settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass

from token2wave.config import Configuration, require, require_choice


@dataclass(frozen=True)
class Recipe(Configuration):
    """Settings of a training run.

    Attributes:
        epochs: passes over the training texts.
        batch_size: texts in a step.
        lr: peak learning rate of AdamW for everything but the embedding; 0 trains the embedding alone.
        weight_decay: decoupled weight decay of the dense part.
        embedding_optimizer: ``adam`` or ``sgd``, for the rows of the embedding that a step touches. Adam
            moves a rare word as far as a frequent one; SGD leaves rare words small.
        embedding_lr: peak learning rate of the embedding; 0 leaves the embedding as it is.
        embedding_epsilon: Adam's epsilon for the rows; large values (1e-3) act like SGD on rare rows.
        embedding_weighting: ``none``, or ``idf``: a row moves in proportion to its inverse document
            frequency (see :func:`token2wave.training.schedule.row_weights`).
        idf_power: power of the inverse document frequency. 1 suits topics, which rare words identify;
            smaller powers generalise to texts about other things.
        warmup: fraction of the steps in which the learning rates rise to their peak.
        decay: ``linear`` to zero, ``cosine`` to zero, or ``constant``, after the warm-up.
        token_dropout: probability that a step drops a feature of a text; contexts still see all words.
        context_words: words of each text, one after the other, that the context branch learns from in a step;
            another excerpt is drawn in each step. It saves time with much text. 0 takes all words.
        label_smoothing: fraction of the target spread over all classes.
        validation_fraction: fraction of the training texts held out if there is no validation set. The
            papers: 0.2.
        validation: which rows are held out: ``random``, as in the papers; or ``grouped``: blocks of the
            file, and whole texts if rows are parts of others, so that they are as new as future texts.
        char_ngrams: whether the linear SVM also sees the words' character n-grams. They help with rare
            words, and take most of the time of the SVM.
        tune_linear_svm: whether validation texts choose the linear SVM's cost of an error, and how much
            character n-grams and the language prior count. Several problems are solved then.
        prior_scale: root mean square of the waves that start from the language prior, relative to waves
            drawn at random; 0 does without the prior, also in the linear SVM.
        refit_below: with fewer characters in all training texts, the model is trained again on all rows once
            the validation rows have chosen the number of epochs; 0 never trains on validation rows.
        windows_from: the median of the words and symbols of training texts from which validation texts decide
            whether the model gets a window level (:mod:`token2wave.training.window_level`); 0 never tries.
        refit_linear_svm: whether, with more characters, the linear SVM alone is solved again from all rows.
        select_by: the figure of the validation texts that chooses the epoch: ``accuracy``, ``macro_f1``, in
            which rare classes count as much as frequent ones, ``micro_f1``, or ``loss``. For multi-label
            texts micro-F1 replaces accuracy.
        teacher_share: weight of the teacher's probabilities in the targets; the labels have the rest.
        teacher_temperature: above 1 the teacher's probabilities are softer.
        recombined_texts: texts that are made of each training text for an encoder to label.
        unlabelled_weight: weight of a text that only the teacher labels, relative to one with a label.
        unlabelled_linear_svm_weight: the same for the linear SVM, which learns the teacher's class; 0 leaves
            such texts out.
        patience: epochs without a better one before training stops; 0 never stops early.
        similar_lengths: put texts of similar length into a batch, for networks that pad; waves do not.
        precision: ``float32``, ``bfloat16``, or ``auto``: bfloat16 if the hardware multiplies matrices of it.
    """

    epochs: int = 4
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.01
    embedding_optimizer: str = "adam"
    embedding_lr: float = 1e-3
    embedding_epsilon: float = 1e-8
    embedding_weighting: str = "none"
    idf_power: float = 1.0
    warmup: float = 0.05
    decay: str = "linear"
    token_dropout: float = 0.0
    context_words: int = 0
    label_smoothing: float = 0.0
    validation_fraction: float = 0.2
    validation: str = "random"
    char_ngrams: bool = True
    tune_linear_svm: bool = True
    prior_scale: float = 30.0
    refit_below: int = 0
    windows_from: int = 0
    refit_linear_svm: bool = True
    select_by: str = "accuracy"
    teacher_share: float = 0.8
    teacher_temperature: float = 2.0
    recombined_texts: int = 0
    unlabelled_weight: float = 1.0
    unlabelled_linear_svm_weight: float = 0.5
    patience: int = 0
    similar_lengths: bool = False
    precision: str = "auto"

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "epochs", "at least 1", self.epochs)
        require(1 <= self.batch_size <= 1 << 30, "batch_size", "a number from 1 to 2^30", self.batch_size)
        for key in ("lr", "embedding_lr"):
            rate = getattr(self, key)
            require(0 <= rate <= 3e38, key, "a number from 0 to 3e38", rate)
        epsilon = self.embedding_epsilon
        require(0 < epsilon <= 3e38, "embedding_epsilon", "a positive number up to 3e38", epsilon)
        require(0 <= self.weight_decay < 1, "weight_decay", "from 0 to below 1", self.weight_decay)
        require_choice(self.embedding_optimizer, "embedding_optimizer", ("adam", "sgd"))
        require_choice(self.embedding_weighting, "embedding_weighting", ("none", "idf"))
        require(0 < self.idf_power <= 4, "idf_power", "above 0, up to 4", self.idf_power)
        require(0 <= self.warmup <= 1, "warmup", "from 0 to 1", self.warmup)
        require_choice(self.decay, "decay", ("linear", "cosine", "constant"))
        require(0 <= self.token_dropout < 1, "token_dropout", "a probability below 1", self.token_dropout)
        require(0 <= self.context_words <= 1 << 30, "context_words", "from 0 to 2^30", self.context_words)
        require(0 <= self.label_smoothing < 1, "label_smoothing", "from 0 to below 1", self.label_smoothing)
        fraction = self.validation_fraction
        require(0 < fraction < 1, "validation_fraction", "between 0 and 1", fraction)
        require_choice(self.validation, "validation", ("random", "grouped"))
        require(0 <= self.prior_scale <= 1e6, "prior_scale", "from 0 to 10^6", self.prior_scale)
        require(self.refit_below >= 0, "refit_below", "0 or more", self.refit_below)
        require(self.windows_from >= 0, "windows_from", "0 or more", self.windows_from)
        require_choice(self.select_by, "select_by", ("accuracy", "macro_f1", "micro_f1", "loss"))
        require(0 <= self.teacher_share <= 1, "teacher_share", "from 0 to 1", self.teacher_share)
        temperature = self.teacher_temperature
        require(0.1 <= temperature <= 100, "teacher_temperature", "from 0.1 to 100", temperature)
        require(
            0 <= self.recombined_texts <= 1000, "recombined_texts", "from 0 to 1000", self.recombined_texts
        )
        for key in ("unlabelled_weight", "unlabelled_linear_svm_weight"):
            weight = getattr(self, key)
            require(0 <= weight <= 100, key, "from 0 to 100", weight)
        require(self.patience >= 0, "patience", "0 or more", self.patience)
        require_choice(self.precision, "precision", ("auto", "float32", "bfloat16"))

    def chooses_by(self, multi_label: bool) -> str:
        """The figure that chooses the epoch: :attr:`select_by`, or micro-F1 for accuracy if multi-label."""
        return "micro_f1" if multi_label and self.select_by == "accuracy" else self.select_by

    def with_lr_factor(self, factor: float) -> Recipe:
        """The same settings with both learning rates multiplied."""
        return self.replace(lr=self.lr * factor, embedding_lr=self.embedding_lr * factor)
