"""The options of data and training, for Python, the command line and the estimator.

Each option is declared, documented and checked here only. This module imports nothing heavy, so that
``--help`` is quick.
"""

from __future__ import annotations

import codecs
import dataclasses
import difflib
import encodings.aliases
import operator
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, SupportsIndex

from token2wave.config import INTERNAL, parse_size, require, require_choice
from token2wave.errors import ConfigError

DIALECT_OPTIONS = ("delimiter", "encoding", "header", "quoting")
QUOTINGS = ("auto", "none", "standard", "single", "backslash", "escapes")
LABEL = "label"
TEXT, PAIR_COLUMNS = "text", ("text", "text_pair")
DELIMITER_NAMES = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}


@dataclass(frozen=True)
class TextOptions:
    r"""Which column holds the texts, and how files are written. None: found by looking at the file.

    Attributes:
        text_column: the column of the texts, in formats with columns, or several to join: ``subject,body``.
            In Python a list will do, too. A text has a line for each cell that is not empty or missing.
        pair: whether each row is a pair of texts. Training or the model decides it: see
            :attr:`TrainOptions.pair`.
        delimiter: what separates the fields of CSV and TSV: one character, or ``tab``. A text file is then a
            table, too.
        encoding: the encoding of text files, such as ``cp1252``, ``utf-16`` or ``shift_jis``. UTF-8, UTF-16
            and cp1252 are found by looking.
        header: whether CSV and TSV begin with the names of the columns. Without them the columns are called
            1, 2 and so on.
        quoting: how CSV and TSV quote fields: ``auto``, ``none``, ``standard``, ``single``, ``backslash`` or
            ``escapes``. ``standard`` is RFC 4180. With ``none`` a quote is a character as any other. With
            ``single`` fields are in single quotes. With ``backslash`` a backslash stands before quotes in a
            field. With ``escapes`` there are no quotes, but a backslash before tabs and line breaks, as
            databases write them. In the last two, ``\N`` is a missing value. ``auto`` is found by looking,
            and stops where a quote swallows rows.

    Raises:
        ConfigError: the delimiter is not one character, the encoding or the quoting is not known, or the
            column is neither a name nor a list of names.
    """

    EVERYDAY: ClassVar[tuple[str, ...]] = ("text_column", *DIALECT_OPTIONS)
    """The options that ``help`` describes; the others are named."""
    SHORT_NAMES: ClassVar = {"text": "text_column"}
    """Other names of fields, which :func:`token2wave.config.accept_options` takes, too."""

    text_column: str | Sequence[str] = TEXT
    pair: bool = field(default=False, kw_only=True, metadata=INTERNAL)
    delimiter: str | None = field(default=None, kw_only=True)
    encoding: str | None = field(default=None, kw_only=True)
    header: bool | None = field(default=None, kw_only=True)
    quoting: str = field(default="auto", kw_only=True)

    def __post_init__(self) -> None:
        if self.pair and self.text_column == TEXT:
            object.__setattr__(self, "text_column", PAIR_COLUMNS)
        names = tuple(self.text_column) if isinstance(self.text_column, list | tuple) else (self.text_column,)
        are_names = bool(names) and all(isinstance(name, str) for name in names)
        require(are_names, "text_column", "a name of a column, or several", self.text_column)
        object.__setattr__(self, "text_column", names[0] if len(names) == 1 else names)
        require_choice(self.quoting, "quoting", QUOTINGS)
        if self.delimiter is not None:
            delimiter = DELIMITER_NAMES.get(self.delimiter, self.delimiter)
            is_one = len(delimiter) == 1 and delimiter not in '"\r\n\\'
            require(is_one, "delimiter", "one character, or tab", self.delimiter)
            object.__setattr__(self, "delimiter", delimiter)
        if self.encoding is not None:
            object.__setattr__(self, "encoding", find_codec(self.encoding))

    def for_pairs(self, pair: bool) -> Self:
        """The same options, to read pairs of texts or not."""
        return self if pair == self.pair else dataclasses.replace(self, pair=pair)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns of the texts; ``subject,body`` is one, until the names in the file are known."""
        return (self.text_column,) if isinstance(self.text_column, str) else tuple(self.text_column)

    def for_texts(self) -> TextOptions:
        """The same options, without those of labels."""
        return TextOptions(**{f.name: getattr(self, f.name) for f in dataclasses.fields(TextOptions)})


@dataclass(frozen=True)
class DataOptions(TextOptions):
    """Which columns hold texts, labels and weights, and how files and a text's labels are written.

    Attributes:
        label_column: the column of the labels, in formats with columns. In fastText files every line
            begins with its labels.
        weight_column: the column that says how much each training text counts, if there is one. fastText
            files have none.
        group_column: the column that says which rows belong together, such as the film of a review or the
            author of a post, if there is one. Validation never sees a group that training has seen. fastText
            files have none.
        multi_label: whether a text may have several labels, or none. None leaves it to the data: lists of
            labels say so, and so do several labels on a line of fastText.
        label_separator: what separates the labels of a text in one string, as in CSV. A text may then have
            several labels, or none. fastText files ignore it.
        normalise_labels: whether labels that differ only in case, blanks or Unicode form are one label. Its
            name is in lower case.
        skip_bad_rows: leave out rows that cannot be read or used, and count them, instead of stopping. If
            more than half of the rows are bad, it is an error all the same.
        bad_rows: CSV file that lists the rows left out, and why.

    Raises:
        ConfigError: texts and labels come from the same column, or the separator is empty.
    """

    label_column: str = "label"
    weight_column: str | None = None
    group_column: str | None = None
    multi_label: bool | None = None
    label_separator: str | None = None
    normalise_labels: bool = False
    skip_bad_rows: bool = False
    bad_rows: str | os.PathLike[str] | None = None

    EVERYDAY: ClassVar[tuple[str, ...]] = (
        "text_column",
        "label_column",
        "label_separator",
        "weight_column",
        "group_column",
    )
    SHORT_NAMES: ClassVar = {"text": "text_column", "label": "label_column"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bad_rows is not None:
            object.__setattr__(self, "skip_bad_rows", True)
        if self.label_column in self.text_columns:
            raise ConfigError(
                f"expected two columns, found {self.label_column!r} for both texts and labels",
                location="label_column",
                hint="name the column of the labels with --label-column",
            )
        if self.label_separator == "":
            raise ConfigError(
                "expected a character or more, found an empty separator",
                location="label_separator",
                hint="name what separates the labels of a text, e.g. --label-separator '|'",
            )


def find_codec(name: str) -> str:
    """Return Python's name of a text encoding.

    Raises:
        ConfigError: there is no such encoding.
    """
    try:
        codec = codecs.lookup(name).name
        if codec not in ("idna", "punycode") and "a".encode(codec):  # these two are no encodings of texts
            return codec.removesuffix("-sig")
    except (LookupError, ValueError):
        pass
    names = {*encodings.aliases.aliases, *encodings.aliases.aliases.values()}
    close = difflib.get_close_matches(re.sub(r"[\W_]+", "_", name.lower()), sorted(names), 1)
    hint = f"did you mean {close[0]!r}?" if close else "for example utf-8, cp1252, latin-1 or shift_jis"
    raise ConfigError(f"expected an encoding, found {name!r}", location="encoding", hint=hint)


TARGETS = (LABEL, "score", "ordinal")
PathLike = str | os.PathLike[str]
LABEL_CLEANINGS = ("drop_suspicious", "reweight", "relabel")
"""Options that train without the labels that look wrong; one at a time."""
IN_MEMORY_OPTIONS = (
    "baseline",
    "cv",
    "time_budget",
    "candidates",
    "teacher",
    "unlabelled",
    "init_from",
    "label_descriptions",
    "vocabulary",
    *LABEL_CLEANINGS,
)
"""Options that need all texts in memory, and so cannot be combined with ``stream``."""
MAX_FOLDS = 100
LABEL_OPTIONS = (
    *("class_weights", "teacher", "unlabelled", "label_descriptions", "cv", "baseline", "stream"),
    *LABEL_CLEANINGS,
)
"""Options that are for labels alone, and cannot be combined with a target of scores or grades."""
SINGLE_TEXT_OPTIONS = (
    *("teacher", "unlabelled", "init_from", "label_descriptions", "vocabulary", "stream"),
    *LABEL_CLEANINGS,
)
"""Options that cannot be combined with pairs of texts."""
SMALL_TEACHER = "small"
"""The teacher without an encoder: models of preset ``small``, trained on other rows than they label."""


@dataclass(frozen=True)
class TrainOptions:
    """How to train, and what to write.

    Attributes:
        preset: ``small``, ``fast`` or ``paper``.
        out: where the model file goes. Without it no file is written.
        test: data to evaluate on at the end, instead of the data's own test set.
        validation: data that chooses the epoch and settings, instead of rows held out from training.
        target: ``label``, ``score`` or ``ordinal``: what the labels are. Scores are any numbers. Ordinal
            labels are grades: few numbers, such as 1 to 5, whose order counts. A model of either predicts a
            number.
        ordinal: short for the target ``ordinal``.
        pair: whether each row is a pair of texts to compare, in two text columns, which are ``text`` and
            ``text_pair`` if you name none.
        symmetric: whether the order of the two texts of a pair plays no part.
        operation: ``interference`` or ``modulation``. The default is the preset's.
        epochs: passes over the training texts. The default is the preset's.
        batch_size: texts in a step. The default is the preset's.
        lr: peak learning rate of everything but the embedding, whose rate changes in proportion.
        seed: the same seed gives the same model. It decides the validation split, the initial weights, the
            order of texts and dropout.
        device: ``auto``, ``cpu`` or ``cuda``. ``auto`` takes the native core if it can train the network,
            else CUDA if there is a device.
        class_weights: ``balanced``, or the weight of labels, e.g. ``{"spam": 5}``; other labels weigh 1.
            With ``balanced`` every class counts the same, however rare. If a text may have several labels,
            it is the weight of that label's decision in the texts that have it.
        vocabulary: a WordPiece ``vocab.txt``, for preset ``paper``. The default is that of
            ``bert-base-uncased`` in the folder ``TOKEN2WAVE_DATA``, or else one trained on the texts.
        teacher: an encoder (``all-MiniLM-L6-v2``, a folder, a name on the hub) or a file of probabilities
            to learn from in addition to the labels. An encoder joins models of preset ``small``, trained on
            the training rows first; ``small`` takes these models alone. A folder with a fine-tuned classifier
            is used as it is.
        unlabelled: texts without labels, which the teacher labels: a file, a data set, or texts. Without a
            teacher, it is ``small``.
        init_from: an encoder whose output for each word initialises the word's embedding.
        prior: whether texts in English start from the language prior that the package has. It knows what
            frequent words mean, also those that your rows do not have.
        label_descriptions: what each label means: a text or texts for each, or a JSON or table file of these.
            They are texts to learn from, as is the label's name, and count less the more rows a label has. In
            English they do without any rows: leave out the data. JSON is ``{"sports": "teams and players"}``;
            a table has columns ``label`` and ``description``.
        settings: values of any settings, by full name such as ``network.width``.
        baseline: also train TF-IDF + LinearSVC on the same rows, for comparison. The default does so if
            scikit-learn is installed and it takes less time than training itself.
        cv: cross-validate in this many folds: every row is predicted by a model that has not seen it. The
            model you get then learns from all rows.
        drop_suspicious: leave out training rows whose labels look wrong to models that have not seen them,
            if the validation rows do not speak against it. The summary says how many, and both figures.
        reweight: let such rows count less, likewise.
        relabel: give such rows the label that fits better, likewise.
        report: folder for the report, ``report.html`` and ``report.json``. It holds texts that the
            model was evaluated on.
        figures: also write the report's figures there as PNG and SVG files; needs matplotlib.
        overwrite: replace files of another kind than those written. An input is never replaced.
        time_budget: search for better settings within about this time: seconds, or e.g. ``60s``, ``5min``
            or ``2h``. Only validation rows decide. Settings that you name stay as they are.
        candidates: search for better settings, and try at most this many, the first settings included.
        max_size: largest size of the model file in bytes, or e.g. ``1MB``. The model is compressed to fit,
            and a search compares compressed models.
        checkpoint: file to resume from, written after every epoch and removed at the end.
        resume: resume from the checkpoint, if there is one. Data, settings and seed must be the same. So
            is the model, byte for byte.
        stream: read the data again for each pass instead of holding it in memory. The data may then be a
            pattern such as ``crawl/*.parquet``, a folder, or several files.
        memory: about how much memory training on a stream may take, besides Python and its libraries:
            bytes, or e.g. ``500MB``.
        max_rejected: largest fraction of a stream's rows that may be unreadable. Such rows are skipped and
            counted. With ``skip_bad_rows`` it is a half.

    Raises:
        ConfigError: a value is illegal, or two options do not go together.
    """

    EVERYDAY: ClassVar = (
        *("preset", "out", "test", "validation", "epochs", "seed", "class_weights", "baseline", "cv"),
        *("report", "time_budget", "max_size"),
    )

    preset: str = "small"
    out: PathLike | None = None
    test: Any = None
    validation: Any = None
    target: str = LABEL
    ordinal: bool = False
    pair: bool = False
    symmetric: bool = False
    operation: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    seed: int = 0
    device: str = "auto"
    class_weights: str | Mapping[str, float] | None = None
    vocabulary: PathLike | None = None
    teacher: PathLike | None = None
    unlabelled: Any = None
    init_from: PathLike | None = None
    prior: bool = True
    label_descriptions: Any = None
    settings: Mapping[str, Any] | None = None
    baseline: bool | None = None
    cv: int | None = None
    drop_suspicious: bool = False
    reweight: bool = False
    relabel: bool = False
    report: PathLike | None = None
    figures: bool = False
    overwrite: bool = False
    time_budget: float | str | None = None
    candidates: int | None = None
    max_size: int | str | None = None
    checkpoint: PathLike | None = None
    resume: bool = False
    stream: bool = False
    memory: int | str = "1GB"
    max_rejected: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", require_seed(self.seed))
        self._check_target()
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"expected auto, cpu or cuda, found {self.device!r}", location="device")
        if self.lr is not None:
            # Settings may set one of the two rates to zero; with both at zero nothing is learnt.
            require(0 < self.lr <= 3e38, "lr", "a positive number up to 3e38", self.lr)
        if "network.multi_label" in (self.settings or {}):
            raise ConfigError(
                "the data decides it", location="network.multi_label", hint="use the option multi_label"
            )
        if self.stream:
            for name in IN_MEMORY_OPTIONS:
                if getattr(self, name) is not None and getattr(self, name) is not False:
                    raise ConfigError(
                        "needs all texts in memory",
                        location=f"--{name.replace('_', '-')}",
                        hint="leave it out, or train without --stream",
                    )
        if self.cv is not None:
            require(2 <= self.cv <= MAX_FOLDS, "cv", f"a number of folds from 2 to {MAX_FOLDS}", self.cv)
            problems = {
                "teacher": "a teacher may have learnt from the rows of every fold",
                "time_budget": "a time budget is that of a single training",
            }
            for name, problem in problems.items():
                if getattr(self, name) is not None:
                    raise ConfigError(problem, location="cv", hint=f"leave {name} out, or cv")
        self._check_label_cleaning()
        if self.figures and self.report is None:
            raise ConfigError(
                "figures are part of a report", location="figures", hint="name its folder with --report"
            )
        if self.unlabelled is not None and self.teacher is None:
            object.__setattr__(self, "teacher", SMALL_TEACHER)
        require(0 <= self.max_rejected <= 1, "max_rejected", "a fraction from 0 to 1", self.max_rejected)
        for name in ("max_size", "memory"):
            if getattr(self, name) is not None:
                parse_size(getattr(self, name), name)
        self._check_checkpoint()

    def _check_target(self) -> None:
        """Refuse options that are for labels alone with another target, and for single texts with pairs."""
        require_choice(self.target, "target", TARGETS)
        if self.ordinal:
            if self.target == "score":
                raise ConfigError(
                    "cannot be combined with target score", location="ordinal", hint="choose one"
                )
            object.__setattr__(self, "target", "ordinal")
        if self.symmetric and not self.pair:
            problem = "only pairs of texts have an order"
            raise ConfigError(problem, location="symmetric", hint="add pair, or leave it out")
        if self.pair:
            self._refuse(SINGLE_TEXT_OPTIONS, "is for single texts, found pairs", "or pair")
        if self.target != LABEL:
            problem = f"is for labels alone, found the target {self.target}"
            self._refuse(LABEL_OPTIONS, problem, "or train on labels")

    def _refuse(self, names: Sequence[str], problem: str, alternative: str) -> None:
        """Refuse any of these options; the hint is to leave it out, or an alternative."""
        for name in names:
            if getattr(self, name) is not None and getattr(self, name) is not False:
                raise ConfigError(problem, location=name, hint=f"leave {name} out, {alternative}")

    def _check_label_cleaning(self) -> None:
        """Refuse two ways of cleaning labels, and what does not go together with one."""
        ways = [name for name in LABEL_CLEANINGS if getattr(self, name)]
        if len(ways) > 1:
            raise ConfigError(f"cannot be combined with {ways[1]}", location=ways[0], hint="choose one")
        problems = {
            "teacher": "a teacher has learnt from the wrong labels, too",
            "time_budget": "a time budget is that of a single training",
        }
        for name, problem in problems.items():
            if ways and getattr(self, name) is not None:
                raise ConfigError(problem, location=ways[0], hint=f"leave {name} out, or {ways[0]}")

    def _check_checkpoint(self) -> None:
        """Refuse a checkpoint that could not be resumed."""
        if self.resume and self.checkpoint is None:
            raise ConfigError(
                "found no checkpoint to resume",
                location="resume",
                hint="name its file with --checkpoint",
            )
        if self.checkpoint is None:
            return
        if self.searches:
            raise ConfigError(
                "a settings search cannot be resumed",
                location="checkpoint",
                hint="search first, then train with the settings of the report, by --set",
            )

    @property
    def searches(self) -> bool:
        """Whether to search for better settings."""
        return self.time_budget is not None or self.candidates is not None

    @property
    def label_cleaning(self) -> str | None:
        """The one of :data:`LABEL_CLEANINGS` that you ask for."""
        return next((name for name in LABEL_CLEANINGS if getattr(self, name)), None)

    @property
    def max_bytes(self) -> int | None:
        """:attr:`max_size` in bytes."""
        return None if self.max_size is None else parse_size(self.max_size)


@dataclass(frozen=True)
class AuditOptions:
    """How to audit, and what to write.

    Attributes:
        test: test rows, whose texts should not be among the training rows.
        out: folder for the page ``audit.html``, ``audit.json`` and tables of suspicious rows and findings.
        seed: the same seed gives the same audit.
        apply: write a cleaned copy into the folder: a table of decisions, ``drop`` for all suspicious rows,
            or ``relabel`` to give them the labels proposed. The data itself stays as it is.
        max_rows: suspicious rows with texts in the page and in ``audit.json``; the table has all.
        overwrite: replace files of another kind than those written. An input is never replaced.

    Raises:
        ConfigError: a value is illegal, or ``apply`` lacks a folder.
    """

    test: Any = None
    out: PathLike | None = None
    seed: int = 0
    apply: PathLike | None = None
    max_rows: int = 1000
    overwrite: bool = False

    EVERYDAY: ClassVar = ("test", "out", "seed", "apply")

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", require_seed(self.seed))
        require(0 < self.max_rows <= 100_000, "max_rows", "a number from 1 to 100,000", self.max_rows)
        if self.apply is not None and self.out is None:
            hint = "name a folder with --out (out=...)"
            raise ConfigError("expected a folder for the cleaned copy, found none", location="out", hint=hint)


def require_seed(seed: SupportsIndex) -> int:
    """Convert a seed, also one of numpy, to a plain number; ConfigError if it is out of range."""
    number = operator.index(seed) if isinstance(seed, SupportsIndex) else -1
    if not 0 <= number < 1 << 63:
        raise ConfigError(f"expected a whole number from 0 to 2^63 - 1, found {seed!r}", location="seed")
    return number
