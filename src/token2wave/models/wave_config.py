"""The configuration of a Wave Network: every choice as data, and the shapes of its parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from token2wave.config import Configuration, require, require_choice
from token2wave.errors import ConfigError
from token2wave.models.registry import NATIVE, NUMPY, OPERATIONS, READOUTS, require_registered

MAX_OOV_WEIGHTS = 1 << 22
OPTIONAL = "n_oov", "window_words", "layer_norm", "feed_forward", "activation", "norm_tokens"
ABSENT = 0, "none", False
"""Values of :data:`OPTIONAL` settings that :meth:`WaveConfig.to_dict` leaves out; all are the defaults."""


class ParameterCount(NamedTuple):
    """Number of trained parameters.

    Attributes:
        total: all parameters.
        without_embedding: all but the token embeddings, the papers' "2.4 million".
    """

    total: int
    without_embedding: int


@dataclass(frozen=True)
class WaveConfig(Configuration):
    """Every choice that the papers make or leave open (arXiv 2411.02674v4, section 4), and our branches.

    Attributes:
        n_rows: rows of the embedding, ``V``.
        n_classes: classes, ``C``.
        width: dimensions of a token, ``D``.
        layers: number of wave layers.
        operation: ``interference`` (eqs. 3, 4), ``modulation`` (eqs. 6, 7), or a name that
            :func:`token2wave.models.register_operation` registered.
        variants: where the two waves of a token come from. ``linear``: two linear layers, both at input
            level (v3, and v4's text). ``levels``: the same embedding at sentence level and at input level
            (v4, Fig. 6a). ``rows``: a row of the embedding holds both variants, which equals two linear
            layers multiplied out for every row.
        restore: complex to real, ``g`` of eq. 8. ``linear``: a linear map of ``concat(Re, Im)``;
            ``real``: the real part; ``magnitude``: the magnitude.
        readout: what represents the text. ``cls``: the first token; ``mean``: the mean over tokens;
            ``text``: the text itself as one wave (:func:`token2wave.waves.text_wave`); or a name that
            :func:`token2wave.models.register_readout` registered.
        positions: ``none``, or ``sinusoidal`` encodings added to the embeddings. Without positions, context
            and sentences, the order of the tokens does not matter.
        residual: how layers are joined. ``equation``: eq. 8, ``W + dropout(g(f(W)))``; ``figure``: Fig. 6b,
            ``dropout(g(f(W) + W))``.
        layer_norm: the norm inside each layer. ``real``: of the restored state, after the return to real
            numbers, as in the papers' pipeline; a single layer has the norm before the head alone.
            ``wave``: before it, of real and imaginary parts together. ``none``: there is only the norm
            before the head. With residual ``equation``, gains below the last layer begin at zero.
        feed_forward: width of a hidden layer in the linear map of ``restore``; 0 leaves it out.
        activation: ``gelu``, ``relu`` or ``none``, after the hidden layer; without one, after the map.
        norm_tokens: whether the norm before the head is of each token, before the read-out averages them,
            instead of the average.
        dropout: probability of dropping a dimension of a restored state.
        context_width: width of the context branch, waves of neighbouring words; 0 leaves it out.
        context_radius: neighbours on each side in the context branch.
        linear_svm: whether a row of the embedding also holds a weight of the linear SVM for each class. The
            branch divides the sum of a text's weights by the root of the number of its features.
        n_oov: entries of the OOV table (out of vocabulary), ``K``; 0 leaves it out. An entry is a word
            without a row or a character n-gram. It has a weight of the linear SVM for each class.
        window_words: words of a window in the window level, an even number; 0 leaves it out. Each row has a
            weight for each class, and the largest score of a window is added to the logits
            (:mod:`token2wave.inference.windows`). Training adds the level to a finished network.
        multi_label: whether a text may have several classes or none. Probabilities are then sigmoids of the
            logits instead of their softmax.
        embedding_scale: standard deviation of the initial embeddings.
        sentence_ends: rows of the tokens that end a sentence, for variants ``levels``.
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
    layer_norm: str = "none"
    feed_forward: int = 0
    activation: str = "none"
    norm_tokens: bool = False
    dropout: float = 0.1
    context_width: int = 0
    context_radius: int = 3
    linear_svm: bool = False
    n_oov: int = 0
    window_words: int = 0
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
        require_choice(self.layer_norm, "layer_norm", ("none", "real", "wave"))
        hidden = 0 <= self.feed_forward <= 1 << 16
        require(hidden, "feed_forward", "a number from 0 to 65,536", self.feed_forward)
        require_choice(self.activation, "activation", ("none", "gelu", "relu"))
        require(0 <= self.dropout < 1, "dropout", "a probability below 1", self.dropout)
        wide = 0 <= self.context_width <= 1 << 16
        require(wide, "context_width", "a number from 0 to 65,536", self.context_width)
        near = 1 <= self.context_radius <= 1024
        require(near, "context_radius", "a number from 1 to 1,024", self.context_radius)
        few = 0 <= self.n_oov * self.n_classes <= MAX_OOV_WEIGHTS
        require(few, "n_oov", f"at most {MAX_OOV_WEIGHTS:,} weights in the OOV table", self.n_oov)
        even = 0 <= self.window_words <= 1 << 16 and self.window_words % 2 == 0
        require(even, "window_words", "an even number from 0 to 65,536", self.window_words)
        finite = 0 < self.embedding_scale < float("inf")
        require(finite, "embedding_scale", "a positive number", self.embedding_scale)
        known = all(0 <= row < self.n_rows for row in self.sentence_ends)
        require(known, "sentence_ends", f"rows below {self.n_rows}", self.sentence_ends)
        self._refuse_contradictions()

    def _refuse_contradictions(self) -> None:
        """Refuse combinations in which a setting cannot change the output."""
        if self.variants == "levels" and self.readout == "text":
            raise ConfigError(
                "readout 'text' treats the text as one wave and has no sentence level",
                location="variants",
                hint="choose variants 'linear', or readout 'cls' or 'mean'",
            )
        if self.linear_svm and self.variants != "rows":
            raise ConfigError(
                "expected variants 'rows', since a row of the embedding holds the weights of the linear SVM",
                location="linear_svm",
                hint="choose variants 'rows', or set linear_svm=false",
            )
        if self.n_oov and not self.linear_svm:
            raise ConfigError(
                "expected a linear SVM, since the OOV table holds weights of it",
                location="n_oov",
                hint="set linear_svm=true, or n_oov=0",
            )
        if self.variants == "rows" and self.layers > 1:
            raise ConfigError(
                "expected one layer, since only the first layer sees the rows of the embedding",
                location="variants",
                hint="choose variants 'linear', or one layer",
            )
        if self.restore != "linear" and (self.feed_forward or self.activation != "none"):
            raise ConfigError(
                "expected restore 'linear', since hidden layer and activation belong to its map",
                location="feed_forward" if self.feed_forward else "activation",
                hint="choose restore 'linear', or feed_forward=0 and activation 'none'",
            )
        if self.norm_tokens and not READOUTS[self.readout].pools_states:
            raise ConfigError(
                f"read-out {self.readout!r} has one state a text, so there are no tokens to norm before it",
                location="norm_tokens",
                hint="choose readout 'mean', or norm_tokens=false",
            )
        interferes_in_real_part = self.operation == "interference" and self.restore == "real"
        if (
            interferes_in_real_part
            and self.layer_norm != "wave"
            and self.readout == "cls"
            and self.layers == 1
        ):
            raise ConfigError(
                "the real part of interference at [CLS] is the same constant for every text",
                location="restore",
                hint="choose restore 'linear' or 'magnitude', or readout 'mean'",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold; settings of :data:`OPTIONAL` only if they are not absent."""
        values = super().to_dict()
        return {key: value for key, value in values.items() if key not in OPTIONAL or value not in ABSENT}

    def without_linear_svm(self) -> WaveConfig:
        """Return the same network without the linear SVM and its OOV table."""
        return self.replace(linear_svm=False, n_oov=0)

    @property
    def row_width(self) -> int:
        """Width of a row of the embedding: that of its waves, and the weights of the linear SVM."""
        return self.wave_width + (self.n_classes if self.linear_svm else 0)

    @property
    def wave_width(self) -> int:
        """Width of that part of a row from which waves are made."""
        return 2 * self.width if self.variants == "rows" else self.width

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name and shape of every parameter, in the order of the network's state."""
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
            if self.restore == "linear" and self.feed_forward:
                linear(f"layers.{layer}.restore.hidden", 2 * d, self.feed_forward)
            if self.restore == "linear":
                linear(f"layers.{layer}.restore.linear", self.feed_forward or 2 * d, d)
            if self.norms_layers:
                norm(f"layers.{layer}.norm", d if self.layer_norm == "real" else 2 * d)
        norm("norm", d)
        linear("head", d, c)
        if p:
            linear("context.variants", self.wave_width, 2 * p)
            norm("context.norm", 2 * p)
            linear("context.linear", 2 * p, p)
            linear("context.head", 2 * p, c)
        if self.linear_svm:
            norm("linear_svm", c)
        if self.n_oov:
            shapes["oov.weight"] = (self.n_oov, c)
        if self.window_words:
            shapes["windows.weight"], shapes["windows.bias"] = (self.n_rows, c), (c,)
        return shapes

    def parameter_count(self) -> ParameterCount:
        """Count the parameters without building the network."""
        total = sum(math.prod(shape) for shape in self.parameter_shapes().values())
        return ParameterCount(total, total - self.n_rows * self.row_width)

    def unsupported_by(self, backend: str) -> str | None:
        """Say which operation, read-out or level a backend does not compute; None if it computes all."""
        if self.window_words and backend not in (NATIVE, NUMPY):
            return f"expected a network without a window level, which is not in {backend}, found one with it"
        if backend not in OPERATIONS[self.operation].backends:
            return f"the operation {self.operation!r} is not available in {backend}"
        if backend not in READOUTS[self.readout].backends:
            return f"the read-out {self.readout!r} is not available in {backend}"
        return None

    def require_backend(self, backend: str) -> None:
        """Refuse a backend without this network's operation, read-out or window level.

        Raises:
            ConfigError: the backend lacks it.
        """
        if problem := self.unsupported_by(backend):
            hint = "train with recipe.windows_from=0" if self.window_words else "predict with the classifier"
            raise ConfigError(problem, location="network", hint=hint)

    @property
    def norms_layers(self) -> bool:
        """Whether a layer has a norm of its own, besides the one before the head."""
        return self.layer_norm == "wave" or (self.layer_norm == "real" and self.layers > 1)

    @property
    def is_additive(self) -> bool:
        """Whether a text enters only through sums over its tokens.

        The native core trains and runs such networks without torch; numpy runs them, too.
        """
        return (
            self.layers == 1
            and self.variants == "rows"
            and self.readout == "text"
            and self.restore == "linear"
            and not self.norms_layers
            and not self.feed_forward
            and self.activation == "none"
            and self.positions == "none"
            and not self.window_words
            and self.unsupported_by(NUMPY) is None
            and self.unsupported_by(NATIVE) is None
        )

    @property
    def uses_phase(self) -> bool:
        """Whether the phase of a token can change the output, beyond the magnitudes.

        It cannot in one layer of modulation with magnitudes, since ``|Z Z'| = G G'``: the model is then a
        bag of energies. (A second layer feeds magnitudes back as embeddings.)
        """
        bag_of_energies = self.operation == "modulation" and self.restore == "magnitude"
        bag_of_energies = bag_of_energies and self.layer_norm != "wave"  # which sees real and imaginary parts
        return not (bag_of_energies and self.layers == 1 and self.context_width == 0)

    @property
    def uses_order(self) -> bool:
        """Whether the order of the tokens can change the output."""
        by_sentence = self.variants == "levels" and bool(self.sentence_ends)
        return self.positions != "none" or self.context_width > 0 or by_sentence
