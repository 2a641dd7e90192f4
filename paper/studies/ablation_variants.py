"""The networks of the ablation study: what each changes of a reference, and in which words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from paper.studies.ablation_network import ablate, freeze_embedding
from paper.study import StudyData
from paper.systems import System, wave_system
from token2wave.models import WaveConfig, WaveNetwork

WIDTH = 128
WIDTHS = (64, 128, 256, 512, 768)
OPERATIONS = ("modulation", "interference")
REFERENCE = "modulation"
WITHOUT_OPERATION = ("first-alone", "real-means", "magnitudes-alone")
"""Keys of the variants in which no operation takes place, whatever they are set to."""
QUICK = (
    "modulation",
    "interference",
    "first-alone",
    "real-means",
    "magnitudes-alone",
    "without-phase-modulation",
    "without-magnitude-modulation",
    "restore-magnitude-modulation",
    "restore-real-interference",  # refused: the miniature, too, says so
    "readout-mean",
    "layers-2",
    "width-64-modulation",
    "width-64-interference",
    "frozen",
)
"""Keys of the variants of a miniature study."""


@dataclass(frozen=True)
class Variant:
    """A network that differs in one thing from a reference.

    Attributes:
        key: short name in files.
        question: the group that it is shown in.
        title: what tables and figures call it.
        what: one sentence that says what is computed.
        system: settings of network and training.
        against: key of the reference that it is compared with; None for the first reference.
        ablation: what :func:`paper.studies.ablation_network.ablate` takes away.
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
        """The wave operation that it is set to."""
        return str(self.system.network["operation"])

    @property
    def width(self) -> int:
        """Dimensions of a token."""
        return int(self.system.network["width"])

    def settings(self) -> dict[str, Any]:
        """Everything that decides its results, as JSON can hold it."""
        return {"system": self.system.settings(), "ablation": self.ablation, "frozen": self.frozen}

    def check(self) -> None:
        """Refuse a network in which a part that was asked for could not change the output.

        Raises:
            ConfigError: it is one; the error says why.
        """
        WaveConfig.from_dict({**self.system.network, "n_rows": 1, "n_classes": 2})

    def build(self, data: StudyData, seed: int, device: str = "cpu") -> WaveNetwork:
        """Make the network with initial weights that depend on the seed alone.

        Raises:
            ConfigError: illegal settings.
        """
        network = self.system.build(data, seed, device)
        assert isinstance(network, WaveNetwork)
        if self.ablation is not None:
            network = ablate(network, self.ablation)
        return freeze_embedding(network) if self.frozen else network


def variants(epochs: int, keys: tuple[str, ...] | None = None) -> list[Variant]:
    """Every variant, or those with some keys, in the order in which they are shown.

    Some are illegal, and refused by :meth:`Variant.check`: a study names them and leaves them out.

    Args:
        epochs: passes over the training texts.
        keys: of the variants that are wanted; all, if None.
    """

    def make(operation: str = REFERENCE, *, bare: bool = False, **settings: Any) -> System:
        system = wave_system(operation, bare=bare, **{"width": WIDTH, **settings})
        return replace(system, recipe=system.recipe.replace(epochs=epochs))

    every = [
        *_operations(make),
        *_complex_numbers(make),
        *_choices(make),
        *_positions_and_layers(make),
        *_widths(make),
        *_training(make),
    ]
    return every if keys is None else [variant for variant in every if variant.key in keys]


def _operations(make: Callable[..., System]) -> Iterator[Variant]:
    question = "Operation"
    yield Variant(
        "modulation",
        question,
        "modulation",
        "The reference: two linear variants of every token, their waves at [CLS] over the whole text, "
        "multiplied (eqs. 6, 7), a linear map of real and imaginary part, norm and head.",
        make(),
        against=None,
    )
    yield Variant(
        "interference",
        question,
        "interference",
        "The reference, with the two waves added (eqs. 3, 4) instead of multiplied.",
        make("interference"),
    )
    yield Variant(
        "first-alone",
        question,
        "neither: one wave",
        "The [CLS] wave of the first variant is restored as it is; the second variant's linear map is still "
        "there, so that the number of parameters is the same, but is not used.",
        make(),
        ablation="first-alone",
    )


def _complex_numbers(make: Callable[..., System]) -> Iterator[Variant]:
    question = "Complex numbers"
    yield Variant(
        "real-means",
        question,
        "real twin: averages",
        "The two real averages over all tokens, of w and of w', side by side are restored: no squares, no "
        "waves, no operation; parameters as in the reference.",
        make(),
        ablation="real-means",
    )
    yield Variant(
        "magnitudes-alone",
        question,
        "real twin: magnitudes",
        "The two magnitudes G and G' side by side are restored: squares and roots, but no complex numbers "
        "and no operation; parameters as in the reference.",
        make(),
        ablation="magnitudes-alone",
    )
    for ablation, title, what in (
        (
            "without-phase",
            "phase removed",
            "Each wave is replaced by its magnitude with phase 0 (Re = G, Im = 0) before the {operation}.",
        ),
        (
            "without-magnitude",
            "magnitude removed",
            "Each [CLS] wave is replaced by exp(i alpha) (Re = w/G, Im = s/G; 0 where G is 0) before the "
            "{operation}.",
        ),
    ):
        for operation in OPERATIONS:
            yield Variant(
                f"{ablation}-{operation}",
                question,
                f"{title}, {operation}",
                what.format(operation=operation),
                make(operation),
                against=operation,
                ablation=ablation,
            )


def _choices(make: Callable[..., System]) -> Iterator[Variant]:
    yield Variant(
        "readout-mean",
        "Read-out",
        "mean over tokens",
        "The waves of all tokens are multiplied and restored, and the average of these states stands for the "
        "text, not the state at [CLS].",
        make(readout="mean"),
    )
    yield Variant(
        "readout-text",
        "Read-out",
        "text as one wave",
        "Each variant's wave has the mean over tokens as its real part and their standard deviation as its "
        "imaginary part, not the wave at [CLS].",
        make(readout="text"),
    )
    for operation in OPERATIONS:
        for restore, what in (
            ("real", "real part of the combined wave is"),
            ("magnitude", "magnitude of the combined wave is"),
        ):
            yield Variant(
                f"restore-{restore}-{operation}",
                "Restore",
                f"{restore}{' part' if restore == 'real' else ''}, {operation}",
                f"The {what} the text's state, without a linear map; the operation is {operation}.",
                make(operation, restore=restore),
                against=operation,
            )
    yield Variant(
        "variants-levels",
        "Variants",
        "sentence and input level",
        "Both waves come from the embedding itself, without linear maps: one has the magnitude of [CLS]'s "
        "sentence, the other that of the whole text (Fig. 6a).",
        make(variants="levels"),
    )
    yield Variant(
        "variants-rows",
        "Variants",
        "two halves of a row",
        "Rows of the embedding are twice as wide and hold both variants, without linear maps.",
        make(variants="rows"),
    )


def _positions_and_layers(make: Callable[..., System]) -> Iterator[Variant]:
    question = "Positions"
    yield Variant(
        "positions-sinusoidal",
        question,
        "sinusoidal, embeddings 0.1",
        "Sinusoidal encodings of amplitude 1 are added to embeddings of initial standard deviation 0.1.",
        make(positions="sinusoidal"),
    )
    yield Variant(
        "positions-sinusoidal-1",
        question,
        "sinusoidal, embeddings 1.0",
        "Sinusoidal encodings of amplitude 1 are added to embeddings of initial standard deviation 1.",
        make(positions="sinusoidal", embedding_scale=1.0),
        against="positions-none-1",
    )
    yield Variant(
        "positions-none-1",
        question,
        "none, embeddings 1.0",
        "No positions, and embeddings of initial standard deviation 1, not 0.1: what sinusoidal positions "
        "with such embeddings are compared with.",
        make(embedding_scale=1.0),
    )
    for layers, residual in ((2, "equation"), (2, "figure"), (4, "equation")):
        formula = (
            "W + dropout(g(f(W))) (eq. 8)" if residual == "equation" else "dropout(g(f(W) + W)) (Fig. 6b)"
        )
        by_figure = residual == "figure"
        yield Variant(
            f"layers-{layers}{'-figure' if by_figure else ''}",
            "Layers",
            f"{layers} layers, {'Fig. 6b' if by_figure else 'eq. 8'}",
            f"{'Two' if layers == 2 else 'Four'} wave layers, each of which turns tokens W into {formula}; "
            "the last is read out at [CLS].",
            make(layers=layers, residual=residual),
        )


def _widths(make: Callable[..., System]) -> Iterator[Variant]:
    for operation in OPERATIONS:
        for width in WIDTHS:
            if width != WIDTH:
                yield Variant(
                    f"width-{width}-{operation}",
                    "Width",
                    f"{width}, {operation}",
                    f"{width} dimensions a token, not {WIDTH}; the operation is {operation}.",
                    make(operation, width=width),
                    against=operation,
                )


def _training(make: Callable[..., System]) -> Iterator[Variant]:
    yield Variant(
        "frozen",
        "Training",
        "embedding frozen",
        "The table of token embeddings keeps its initial random values; all else is trained.",
        make(),
        frozen=True,
    )
    yield Variant(
        "bare",
        "Training",
        "no regularisation",
        "Only what the papers state of training: a constant rate without warm-up, no dropout of tokens or of "
        "states, no weight decay; as many epochs as the others.",
        make(bare=True),
    )
