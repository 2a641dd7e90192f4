"""The networks of the ablation study: each changes one thing of a reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from paper.studies.ablation_network import ablate, freeze_embedding
from paper.study import StudyData
from paper.systems import System, wave_system
from token2wave.errors import ConfigError
from token2wave.models import WaveNetwork

WIDTH = 128
WIDTHS = (64, 128, 256, 512, 768)
OPERATIONS = ("modulation", "interference")
REFERENCE = "modulation"
WITHOUT_OPERATION = ("first-alone", "real-means", "magnitudes-alone")
"""Keys of the variants that compute no operation, whatever their setting."""
QUICK = (
    *OPERATIONS,
    *WITHOUT_OPERATION,
    "restore-magnitude-modulation",
    "restore-real-interference",  # refused: the miniature reports that, too
    "readout-mean",
    "width-64-modulation",
    "width-64-interference",
    "frozen",
)
"""Keys of the variants of a quick study."""


@dataclass(frozen=True)
class Variant:
    """A network that differs in one thing from a reference.

    Attributes:
        question: its group in tables and figures.
        what: one sentence on what it computes.
        against: key of its reference; None for the first reference.
        ablation: name of an :data:`paper.studies.ablation_network.ABLATIONS`.
        frozen: whether the token embeddings keep their initial random values.
    """

    key: str
    question: str
    title: str
    what: str
    system: System
    against: str | None = REFERENCE
    ablation: str | None = None
    frozen: bool = False

    @property
    def operation(self) -> str:
        """The wave operation of its settings."""
        return str(self.system.network["operation"])

    @property
    def width(self) -> int:
        """Dimensions of a token."""
        return int(self.system.network["width"])

    def settings(self) -> dict[str, Any]:
        """Everything that decides its results, as plain JSON data."""
        return {"system": self.system.settings(), "ablation": self.ablation, "frozen": self.frozen}

    def build(self, data: StudyData, seed: int, device: str = "cpu") -> WaveNetwork:
        """Make the network with initial weights that depend on the seed alone."""
        network = self.system.build(data, seed, device)
        assert isinstance(network, WaveNetwork)
        if self.ablation is not None:
            network = ablate(network, self.ablation)
        return freeze_embedding(network) if self.frozen else network


Row = tuple[tuple[str, str, str], str, dict[str, Any]]
"""Question, key, title, description, and settings of a variant."""
ADDED: list[Row] = []
"""Variants that :func:`add_variant` added."""


def add_variant(question: str, key: str, title: str, what: str, **settings: Any) -> None:
    """Add a variant of your own to the study, after the others (``docs/new-operation.md`` has an example).

    Args:
        question: its group in tables and figures, a new one or one that is there.
        key: its name in files and for ``--variant``.
        title: its name in tables.
        what: one sentence on what it computes.
        settings: what differs from the reference: settings of the network; and ``against``, ``ablation`` and
            ``frozen``, as in :class:`Variant`.

    Raises:
        ConfigError: the key is taken, or there is no variant with the key ``against``.
    """
    keys = [row[0][1] for row in (*_table(), *ADDED)]
    if key in keys:
        raise ConfigError(f"expected a new key, found {key!r}, which is taken", location="variant")
    if (against := settings.get("against", REFERENCE)) not in keys:
        raise ConfigError(f"expected one of {', '.join(keys)}, found {against!r}", location="against")
    ADDED.append(((question, key, title), what, settings))


def make_variants(epochs: int, keys: Sequence[str] | None = None) -> list[Variant]:
    """Make all variants, or those of the keys and their references, in the order of tables.

    The configuration refuses some of them.

    Raises:
        ConfigError: there is no variant with such a key.
    """
    variants = []
    for (question, key, title), what, options in (*_table(), *ADDED):
        own = {
            name: options[name] for name in ("against", "ablation", "removed", "frozen") if name in options
        }
        settings = {name: value for name, value in options.items() if name not in own}
        system = wave_system(**{"operation": REFERENCE, "width": WIDTH, **settings})
        system = replace(system, recipe=system.recipe.replace(epochs=epochs))
        variants.append(Variant(key, question, title, what, system, **own))
    if keys is None:
        return variants
    by_key = {variant.key: variant for variant in variants}
    chosen: set[str | None] = set()
    for name in keys:
        if name not in by_key:
            problem = f"expected one of {', '.join(by_key)}, found {name!r}"
            raise ConfigError(problem, location="variant", hint="add your own with add_variant")
        following: str | None = name
        while following is not None:  # its reference, and that one's
            chosen.add(following)
            following = by_key[following].against
    return [variant for variant in variants if variant.key in chosen]


def _table() -> Iterator[Row]:
    """The variants of the study."""
    yield (
        ("Operation", "modulation", "modulation"),
        "The reference: two linear variants of every token, their waves at [CLS] over the whole text, "
        "multiplied (eqs. 6, 7), a linear map of real and imaginary part, norm and head.",
        {"against": None},
    )
    yield (
        ("Operation", "interference", "interference"),
        "The reference, with the two waves added (eqs. 3, 4) instead of multiplied.",
        {"operation": "interference"},
    )
    yield (
        ("Operation", "first-alone", "neither: one wave"),
        "The [CLS] wave of the first variant is restored unchanged. The linear map of the second variant "
        "exists, for an equal number of parameters, but is not used.",
        {"ablation": "first-alone"},
    )
    yield (
        ("Complex numbers", "real-means", "real twin: averages"),
        "The two real averages over all tokens, of w and of w', side by side are restored: no squares, no "
        "waves, no operation; parameters as in the reference.",
        {"ablation": "real-means"},
    )
    yield (
        ("Complex numbers", "magnitudes-alone", "real twin: magnitudes"),
        "The two magnitudes G and G' side by side are restored: squares and roots, but no complex numbers "
        "and no operation; parameters as in the reference.",
        {"ablation": "magnitudes-alone"},
    )
    yield (
        ("Read-out", "readout-mean", "mean over tokens"),
        "The waves of all tokens are multiplied and restored; the average of these states stands for the "
        "text instead of the state at [CLS].",
        {"readout": "mean"},
    )
    yield (
        ("Read-out", "readout-text", "text as one wave"),
        "Each variant's wave has the mean over tokens as its real part and their standard deviation as its "
        "imaginary part, instead of the wave at [CLS].",
        {"readout": "text"},
    )
    for operation in OPERATIONS:
        for restore, name in (("real", "real part"), ("magnitude", "magnitude")):
            yield (
                ("Restore", f"restore-{restore}-{operation}", f"{name}, {operation}"),
                f"The {name} of the combined wave is the text's state, without a linear map; the operation "
                f"is {operation}.",
                {"operation": operation, "against": operation, "restore": restore},
            )
    yield (
        ("Read-out", "readout-mean-norm", "mean over tokens, normed one by one"),
        "As the mean over tokens, but the norm is that of each token's state, before the average.",
        {"readout": "mean", "norm_tokens": True, "against": "readout-mean"},
    )
    yield (
        ("Restore", "activation-gelu", "linear map and GELU"),
        "A GELU follows the linear map.",
        {"activation": "gelu"},
    )
    yield (
        ("Restore", "feed-forward-gelu", "two linear maps with GELU"),
        f"A feed-forward network of {2 * WIDTH} hidden dimensions with GELU in place of the linear map.",
        {"feed_forward": 2 * WIDTH, "activation": "gelu"},
    )
    yield (
        ("Variants", "variants-levels", "sentence and input level"),
        "Both waves come from the embedding itself, without linear maps: one has the magnitude of [CLS]'s "
        "sentence, the other that of the whole text (Fig. 6a).",
        {"variants": "levels"},
    )
    yield (
        ("Variants", "variants-rows", "two halves of a row"),
        "Rows of the embedding are twice as wide and hold both variants, without linear maps.",
        {"variants": "rows"},
    )
    sinusoidal = "Sinusoidal encodings of amplitude 1 are added to embeddings of initial standard deviation"
    yield (
        ("Positions", "positions-sinusoidal", "sinusoidal, embeddings 0.1"),
        f"{sinusoidal} 0.1.",
        {"positions": "sinusoidal"},
    )
    yield (
        ("Positions", "positions-sinusoidal-1", "sinusoidal, embeddings 1.0"),
        f"{sinusoidal} 1.",
        {"positions": "sinusoidal", "embedding_scale": 1.0, "against": "positions-none-1"},
    )
    yield (
        ("Positions", "positions-none-1", "none, embeddings 1.0"),
        "No positions, and embeddings of initial standard deviation 1 instead of 0.1: the reference of "
        "sinusoidal positions with such embeddings.",
        {"embedding_scale": 1.0},
    )
    for operation in OPERATIONS:
        for width in WIDTHS:
            if width != WIDTH:
                what = f"{width} dimensions a token instead of {WIDTH}; the operation is {operation}."
                changes = {"operation": operation, "against": operation, "width": width}
                yield ("Width", f"width-{width}-{operation}", f"{width}, {operation}"), what, changes
    yield (
        ("Training", "frozen", "embedding frozen"),
        "The table of token embeddings keeps its initial random values; everything else is trained.",
        {"frozen": True},
    )
    yield (
        ("Training", "unregularised", "no regularisation"),
        "Training as the papers state it: a constant rate without warm-up, no dropout of tokens or of "
        "states, no weight decay; as many epochs as the others.",
        {"unregularised": True},
    )
