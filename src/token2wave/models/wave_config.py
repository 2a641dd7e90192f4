"""The shape of a Wave Network, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from token2wave.config import Configuration, require, require_choice
from token2wave.errors import ConfigError
from token2wave.models.registry import NATIVE, NUMPY, OPERATIONS, READOUTS, require_registered


class ParameterCount(NamedTuple):
    """Numbers that training sets.

    Attributes:
        total: all of them.
        without_embedding: all but the table of token embeddings, the papers' "2.4 million".
    """

    total: int
    without_embedding: int


@dataclass(frozen=True)
class WaveConfig(Configuration):
    """Every choice that the papers make or leave open (arXiv 2411.02674v4, section 4).

    Attributes:
        n_rows: rows of the embedding, ``V``.
        n_classes: classes, ``C``.
        width: dimensions of a token, ``D``.
        layers: wave layers, one above the other.
        operation: ``interference`` (eqs. 3, 4), ``modulation`` (eqs. 6, 7), or a name that
            :func:`token2wave.models.register_operation` registered.
        variants: where the two waves of a token come from. ``linear``: two linear layers, both at
            input level (v3, and v4's text). ``levels``: the same embedding at sentence level and at
            input level (v4, Fig. 6a). ``rows``: a row of the embedding holds both variants side by side;
            since linear layers see the embedding alone, this is what two of them come to once they are
            multiplied out for every row.
        restore: complex to real, ``g`` of eq. 8. ``linear``: a linear map of ``concat(Re, Im)``;
            ``real``: the real part; ``magnitude``: the magnitude.
        readout: what stands for the text. ``cls``: the first token; ``mean``: the mean over tokens;
            ``text``: the text itself as one wave (:func:`token2wave.waves.text_wave`); or a name that
            :func:`token2wave.models.register_readout` registered.
        positions: ``none``, or ``sinusoidal`` encodings added to the embeddings. Without them, without a
            phrase level and without sentences, the order of the tokens makes no difference.
        residual: how several layers are joined. ``equation``: eq. 8,
            ``W + dropout(g(f(W)))``; ``figure``: Fig. 6b, ``dropout(g(f(W) + W))``.
        dropout: probability of dropping a dimension of a restored state.
        context_width: dimensions of the phrase level; 0 leaves it out.
        context_radius: neighbours on each side that a phrase level sees.
        linear_svm: whether a row of the embedding also holds an amplitude for each class. A text's are the
            sum of its tokens' over the root of their number: what it says of the classes word by word.
        multi_label: whether each class is decided by itself, so that a text may have several or none: a
            probability is then the sigmoid of its logit, not a share of the softmax.
        embedding_scale: standard deviation of the initial embeddings.
        sentence_ends: rows of the tokens that end a sentence; ``variants: levels`` cuts there.
    """

    n_rows: int
    n_classes: int
    width: int = 768
    layers: int = 1
    operation: str = "modulation"
    variants: str = "linear"
    restore: str = "linear"
    readout: str = "cls"
    positions: str = "none"
    residual: str = "equation"
    dropout: float = 0.1
    context_width: int = 0
    context_radius: int = 3
    linear_svm: bool = False
    multi_label: bool = False
    embedding_scale: float = 0.1
    sentence_ends: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require(self.n_rows >= 1, "n_rows", "at least 1", self.n_rows)
        require(self.n_classes >= 2, "n_classes", "at least 2", self.n_classes)
        require(1 <= self.width <= 1 << 16, "width", "a number from 1 to 65,536", self.width)
        require(1 <= self.layers <= 256, "layers", "a number from 1 to 256", self.layers)
        require_registered(self.operation, "operation", OPERATIONS)
        require_choice(self.variants, "variants", ("linear", "levels", "rows"))
        require_choice(self.restore, "restore", ("linear", "real", "magnitude"))
        require_registered(self.readout, "readout", READOUTS)
        require_choice(self.positions, "positions", ("none", "sinusoidal"))
        require_choice(self.residual, "residual", ("equation", "figure"))
        require(0 <= self.dropout < 1, "dropout", "a probability below 1", self.dropout)
        wide = 0 <= self.context_width <= 1 << 16
        require(wide, "context_width", "a number from 0 to 65,536", self.context_width)
        near = 1 <= self.context_radius <= 1024
        require(near, "context_radius", "a number from 1 to 1,024", self.context_radius)
        finite = 0 < self.embedding_scale < float("inf")
        require(finite, "embedding_scale", "a positive number", self.embedding_scale)
        known = all(0 <= row < self.n_rows for row in self.sentence_ends)
        require(known, "sentence_ends", f"rows below {self.n_rows}", self.sentence_ends)
        self._refuse_blind_combinations()

    def _refuse_blind_combinations(self) -> None:
        """Refuse combinations in which a part that was asked for could not change the output."""
        if self.variants == "levels" and self.readout == "text":
            raise ConfigError(
                "readout 'text' treats the text as one wave and has no sentence level",
                location="variants",
                hint="choose variants 'linear', or readout 'cls' or 'mean'",
            )
        if self.linear_svm and self.variants != "rows":
            raise ConfigError(
                "amplitudes stand in the rows of the embedding, beside both variants",
                location="linear_svm",
                hint="choose variants 'rows', or no amplitudes",
            )
        if self.variants == "rows" and self.layers > 1:
            raise ConfigError(
                "variants 'rows' come from the embedding, which only the first layer sees",
                location="variants",
                hint="choose variants 'linear', or one layer",
            )
        interferes_in_real_part = self.operation == "interference" and self.restore == "real"
        if interferes_in_real_part and self.readout == "cls" and self.layers == 1:
            raise ConfigError(
                "the real part of interference at [CLS] is the same constant for every text",
                location="restore",
                hint="choose restore 'linear' or 'magnitude', or readout 'mean'",
            )

    @property
    def row_width(self) -> int:
        """Numbers in a row of the embedding: those of its waves, and amplitudes, if there are."""
        return self.wave_width + (self.n_classes if self.linear_svm else 0)

    @property
    def wave_width(self) -> int:
        """Numbers in a row of the embedding from which waves are made."""
        return 2 * self.width if self.variants == "rows" else self.width

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter, in the order of the network's state."""
        d, p, c = self.width, self.context_width, self.n_classes
        shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (self.n_rows, self.row_width)}

        def linear(name: str, inputs: int, outputs: int) -> None:
            shapes[f"{name}.weight"] = (outputs, inputs)
            shapes[f"{name}.bias"] = (outputs,)

        def norm(name: str, width: int) -> None:
            shapes[f"{name}.weight"] = (width,)
            shapes[f"{name}.bias"] = (width,)

        for layer in range(self.layers):
            if self.variants == "linear":
                linear(f"layers.{layer}.variants", d, 2 * d)
            if self.restore == "linear":
                linear(f"layers.{layer}.restore.linear", 2 * d, d)
        norm("norm", d)
        linear("head", d, c)
        if p:
            linear("context.variants", self.wave_width, 2 * p)
            norm("context.norm", 2 * p)
            linear("context.linear", 2 * p, p)
            linear("context.head", 2 * p, c)
        if self.linear_svm:
            norm("linear_svm", c)
        return shapes

    def parameter_count(self) -> ParameterCount:
        """Count the parameters of the network that these settings describe, without building it."""
        total = sum(math.prod(shape) for shape in self.parameter_shapes().values())
        return ParameterCount(total, total - self.n_rows * self.row_width)

    def unsupported_by(self, backend: str) -> str | None:
        """Say which operation or read-out a backend does not compute; None if it computes both."""
        if backend not in OPERATIONS[self.operation].backends:
            return f"the operation {self.operation!r} is not available in {backend}"
        if backend not in READOUTS[self.readout].backends:
            return f"the read-out {self.readout!r} is not available in {backend}"
        return None

    def require_backend(self, backend: str) -> None:
        """Refuse a backend that does not compute this network's operation or read-out.

        Raises:
            ConfigError: it does not.
        """
        if problem := self.unsupported_by(backend):
            raise ConfigError(problem, location="network", hint="predict with the classifier, through torch")

    @property
    def is_additive(self) -> bool:
        """Whether a text enters only through sums over its tokens of numbers that belong to them.

        The native core trains and runs such networks without torch; numpy runs them, too.
        """
        return (
            self.layers == 1
            and self.variants == "rows"
            and self.readout == "text"
            and self.restore == "linear"
            and self.positions == "none"
            and self.unsupported_by(NUMPY) is None
            and self.unsupported_by(NATIVE) is None
        )

    @property
    def uses_phase(self) -> bool:
        """Whether the phase of a token can change the output, beyond the magnitudes.

        False for modulation read out by magnitude, since ``|Z Z'| = G G'`` (the model is then a bag
        of energies). One layer alone is meant: a second layer feeds magnitudes back as embeddings.
        """
        bag_of_energies = self.operation == "modulation" and self.restore == "magnitude"
        return not (bag_of_energies and self.layers == 1 and self.context_width == 0)

    @property
    def uses_order(self) -> bool:
        """Whether the order of the tokens can change the output."""
        by_sentence = self.variants == "levels" and bool(self.sentence_ends)
        return self.positions != "none" or self.context_width > 0 or by_sentence
