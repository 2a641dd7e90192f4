"""Builds the ONNX graph of a classifier, from rows of the embedding to probabilities.

It is the twin of :mod:`token2wave.inference.reference` on padded texts: ``B`` texts, the longest with ``L``
features; width ``D``, context width ``P``, ``C`` classes, ``V`` rows, ``K`` entries of the OOV table.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from token2wave.inference.reference import EMBEDDING, NORM_EPSILON, OOV
from token2wave.models.registry import ONNX
from token2wave.models.wave_config import WaveConfig
from token2wave.storage.encodings import EncodedArray

OPSET = 18
IR_VERSION = 8  # that of the first release with opset 18, so that readers of that age accept the file
FLOAT, DOUBLE, INTEGER, BOOL = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.BOOL
LINEAR_SVM = "embedding.linear_svm"
LAST = -1
PLACES = 1  # the axis of a text's features
Arrays = dict[str, NDArray[np.float32]]


class _Table(NamedTuple):
    """Numbers, the last row zero, what to multiply each row or all by, and the name of this scale."""

    numbers: NDArray[Any]
    scale: NDArray[np.float32] | None
    scale_name: str


class _Nodes:
    """Collects the nodes and constants of a graph; every value has a name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def __call__(self, operator: str, *inputs: str, name: str | None = None, **settings: Any) -> str:
        """Add a node with one output and return its name."""
        name = name or f"{operator.lower()}_{len(self.nodes)}"
        return self.with_outputs(operator, [name], *inputs, **settings)[0]

    def with_outputs(self, operator: str, outputs: list[str], *inputs: str, **settings: Any) -> list[str]:
        """Add a node and return the names of its outputs."""
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=outputs[0], **settings))
        return outputs

    def constant(self, array: NDArray[Any], name: str | None = None) -> str:
        """Add an array; equal unnamed arrays are stored once."""
        name = name or f"{array.dtype}{array.tolist()}"
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def integers(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, dtype=np.int64))

    def number(self, value: float, dtype: type = np.float32) -> str:
        return self.constant(np.array(value, dtype=dtype))

    def cast(self, value: str, to: int) -> str:
        return self("Cast", value, to=to)

    def halves(self, value: str) -> list[str]:
        """Split into both variants, or into real and imaginary part."""
        names = [f"half_{len(self.nodes)}_{number}" for number in (0, 1)]
        return self.with_outputs("Split", names, value, axis=LAST, num_outputs=2)

    def column(self, value: str, axis: int) -> str:
        return self("Unsqueeze", value, self.integers(axis))


def build_graph(
    config: WaveConfig, arrays: Arrays, encoded: dict[str, EncodedArray], thresholds: tuple[float, ...]
) -> Any:
    """Build the ONNX model of a network that compiles.

    Args:
        config: the network's configuration.
        arrays: every parameter by name, float32.
        encoded: embedding and OOV table of a compressed file, which the graph keeps small if it can.
        thresholds: for a multi-label model, the probabilities from which a text gets a class.

    Returns:
        An ``onnx.ModelProto``, without metadata.
    """
    config.require_backend(ONNX)
    graph = _Graph(config, arrays, encoded)
    add, logits = graph.add, graph.logits()
    shape = ["n_texts", config.n_classes]
    if config.multi_label:
        probabilities = add("Sigmoid", logits, name="probabilities")
        minimum = add.constant(np.array(thresholds, dtype=np.float64), "thresholds")
        labels = add("GreaterOrEqual", add.cast(probabilities, DOUBLE), minimum, name="labels")
        label_info = helper.make_tensor_value_info(labels, BOOL, shape)
    else:
        probabilities = add("Softmax", logits, axis=LAST, name="probabilities")
        labels = add("ArgMax", probabilities, axis=LAST, keepdims=0, name="labels")
        label_info = helper.make_tensor_value_info(labels, INTEGER, ["n_texts"])
    optional = {"n_ordered": config.context_width, "n_oov_tokens": config.n_oov}
    counts = ["n_features", *(name for name, is_read in optional.items() if is_read)]
    inputs = [helper.make_tensor_value_info("ids", INTEGER, ["n_texts", "n_places"])]
    inputs += [helper.make_tensor_value_info(name, INTEGER, ["n_texts"]) for name in counts]
    outputs = [helper.make_tensor_value_info(name, FLOAT, shape) for name in (logits, probabilities)]
    onnx_graph = helper.make_graph(
        add.nodes, "token2wave", inputs, [*outputs, label_info], list(add.constants.values())
    )
    return helper.make_model(
        onnx_graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="token2wave",
    )


class _Graph:
    """Adds the nodes from rows to logits; methods are named like the functions of the reference."""

    def __init__(self, config: WaveConfig, arrays: Arrays, encoded: dict[str, EncodedArray]) -> None:
        self.config, self.arrays, self.add = config, arrays, _Nodes()
        numbers, scale = _small_table(arrays[EMBEDDING], encoded.get(EMBEDDING))
        self.tables = {EMBEDDING: _Table(numbers[:, : config.wave_width], scale, "embedding.scale")}
        self.tables[LINEAR_SVM] = _Table(numbers[:, config.wave_width :], scale, "embedding.scale")
        if config.n_oov:
            self.tables[OOV] = _Table(*_small_table(arrays[OOV], encoded.get(OOV)), "oov.scale")
        self.n_rows = self.add.constant(np.array(config.n_rows))
        shape = self.add("Shape", "ids", start=PLACES, end=PLACES + 1)
        length = self.add("Squeeze", shape, self.add.integers(0))
        first, step = (self.add.constant(np.array(number)) for number in (0, 1))
        self.places = self.add("Range", first, length, step)  # (L,)

    def logits(self) -> str:
        """Add all nodes; return the logits ``(B, C)``."""
        config, add = self.config, self.add
        ids = self.until_end("ids", self.places, "n_features", config.n_rows + config.n_oov)
        rows, n_rows = ids, "n_features"
        if config.n_oov:
            is_row = add("Less", ids, self.n_rows)
            rows = add("Where", is_row, ids, self.n_rows)
            n_rows = add("ReduceSum", add.cast(is_row, INTEGER), add.integers(PLACES), keepdims=0)
        count = add.cast(n_rows, DOUBLE)
        waves = self.variants(rows)
        if config.readout == "text":
            real, imaginary = self.mean_and_deviation(waves, count)
        elif config.readout == "cls":  # the value of [CLS], and the magnitude of all other tokens
            first = add("Slice", waves, add.integers(0), add.integers(1), add.integers(PLACES))
            real = add("ReduceSum", first, add.integers(PLACES), keepdims=0)
            others = add.cast(add("Greater", self.places, add.constant(np.array(0))), FLOAT)  # (L,)
            exact = add.cast(add("Mul", waves, add.column(others, 1)), DOUBLE)
            squares = add("ReduceSumSquare", exact, add.integers(PLACES), keepdims=0)
            imaginary = add.cast(add("Sqrt", squares), FLOAT)
        else:
            raise ValueError(f"expected read-out cls or text, found {config.readout!r}")
        state = self.restore(self.overlay(real, imaginary))
        total = self.linear("head", self.norm("norm", state))
        if config.context_width:
            total = add("Add", total, self.context())
        if config.linear_svm:
            total = add("Add", total, self.linear_svm(ids, rows, n_rows))
        return add("Identity", total, name="logits")

    def until_end(self, ids: str, places: str, count: str, end: int) -> str:
        """Ids ``(B, L)``, with ``end``, the number of a row of zeros, after the end of a text."""
        is_feature = self.add("Less", places, self.add.column(count, 1))
        return self.add("Where", is_feature, ids, self.add.constant(np.array(end)))

    def variants(self, rows: str) -> str:
        """Both variants of features, ``(B, L, 2 D)``; zero after the end of a text."""
        add = self.add
        if self.config.variants == "rows":
            return self.look_up(EMBEDDING, rows)
        # Map each distinct row once. The second output is not needed.
        distinct, _, inverse = add.with_outputs("Unique", ["distinct", "", "inverse"], rows, sorted=1)
        known = add.cast(add("Less", distinct, self.n_rows), FLOAT)
        mapped = self.linear("layers.0.variants", self.look_up(EMBEDDING, distinct))
        mapped = add("Mul", mapped, add.column(known, 1))  # a linear map of zeros is its bias
        return add("Gather", mapped, add("Reshape", inverse, add("Shape", rows)))

    def mean_and_deviation(self, values: str, count: str) -> tuple[str, str]:
        """Mean and standard deviation over the places, ``(B, W)`` each.

        Double precision represents squares of float32 exactly, so the deviation of a text that repeats one
        token is zero and not a rounding error.
        """
        add = self.add
        exact, axis = add.cast(values, DOUBLE), add.integers(PLACES)
        reciprocal = add.column(add("Reciprocal", add("Max", count, add.number(1, np.float64))), 1)
        mean = add("Mul", add("ReduceSum", exact, axis, keepdims=0), reciprocal)
        squares = add("Mul", add("ReduceSumSquare", exact, axis, keepdims=0), reciprocal)
        variance = add("Sub", squares, add("Mul", mean, mean))
        deviation = add("Sqrt", add("Max", variance, add.number(0, np.float64)))
        return add.cast(mean, FLOAT), add.cast(deviation, FLOAT)

    def overlay(self, real: str, imaginary: str) -> str:
        """Overlay both waves by interference or modulation, ``concat(Re, Im)``."""
        add = self.add
        (w, w2), (s, s2) = add.halves(real), add.halves(imaginary)
        if self.config.operation == "modulation":
            re = add("Sub", add("Mul", w, w2), add("Mul", s, s2))
            im = add("Add", add("Mul", w, s2), add("Mul", w2, s))
        elif self.config.operation == "interference":
            re, im = add("Add", w, w2), add("Add", s, s2)
        else:
            raise ValueError(f"expected interference or modulation, found {self.config.operation!r}")
        return add("Concat", re, im, axis=LAST)

    def restore(self, overlay: str) -> str:
        """Restore a wave to real numbers, ``g`` of eq. 8."""
        add = self.add
        if self.config.restore == "linear":
            return self.linear("layers.0.restore.linear", overlay)
        real, imaginary = add.halves(overlay)
        if self.config.restore == "real":
            return real
        return add("Sqrt", add("Add", add("Mul", real, real), add("Mul", imaginary, imaginary)))

    def context(self) -> str:
        """Logits of the context branch, ``(B, C)``."""
        add, axis = self.add, self.add.integers(PLACES)
        counts = add("Concat", "n_ordered", add.integers(0), axis=0)  # so that no texts have a maximum, too
        longest = add("ReduceMax", counts, add.integers(0), keepdims=1)
        ids = add("Slice", "ids", add.integers(0), longest, axis)
        places = add("Slice", self.places, add.integers(0), longest, add.integers(0))
        rows = self.until_end(ids, places, "n_ordered", self.config.n_rows)
        is_token = add("Less", rows, self.n_rows)
        is_token = add.column(add.cast(is_token, FLOAT), 2)  # (B, W, 1)
        variants = self.linear("context.variants", self.look_up(EMBEDDING, rows))
        variants = add("Mul", variants, is_token)
        first, second = add.halves(variants)  # h, h'
        sides = [self.neighbours(first, left=True), self.neighbours(second, left=False)]
        overlay = self.overlay(variants, add("Concat", *sides, axis=LAST))
        states = self.gelu(self.linear("context.linear", self.norm("context.norm", overlay)))
        count = add.cast("n_ordered", DOUBLE)
        wave = self.mean_and_deviation(add("Mul", states, is_token), count)
        return self.linear("context.head", add("Concat", *wave, axis=LAST))

    def neighbours(self, values: str, left: bool) -> str:
        """Magnitude of each place's neighbours on one side, ``(B, W, P)``."""
        add, radius = self.add, self.config.context_radius
        across = add("Transpose", add("Mul", values, values), perm=[0, 2, 1])
        around = add.integers(0, 0, radius, 0, 0, 0) if left else add.integers(0, 0, 0, 0, 0, radius)
        means = add("AveragePool", add("Pad", across, around), kernel_shape=[radius])  # (B, P, W + 1)
        ends = (0, -1) if left else (1, np.iinfo(np.int64).max)
        means = add("Slice", means, *map(add.integers, ends), add.integers(2))
        sums = add("Mul", means, add.number(radius))
        return add("Transpose", add("Sqrt", sums), perm=[0, 2, 1])

    def linear_svm(self, ids: str, rows: str, n_rows: str) -> str:
        """Logits of the linear SVM branch, ``(B, C)``."""
        add, total, n_tokens = self.add, self.svm_sum(LINEAR_SVM, rows), n_rows
        if self.config.n_oov:  # ids from V on are entries of the OOV table; entry K is zero
            is_row = add("Less", ids, self.n_rows)
            none = add.constant(np.array(self.config.n_oov))
            entries = add("Where", is_row, none, add("Sub", ids, self.n_rows))
            total = add("Add", total, self.svm_sum(OOV, entries))
            n_tokens = add("Add", n_rows, "n_oov_tokens")
        count = add.cast(n_tokens, DOUBLE)
        root = add("Sqrt", add("Max", count, add.number(1, np.float64)))
        superposed = add.cast(add("Div", total, add.column(root, 1)), FLOAT)
        return self.scaled("linear_svm", superposed)

    def svm_sum(self, table: str, rows: str) -> str:
        """Sum of the SVM weights of each text, ``(B, C)``, in double precision."""
        exact = self.add.cast(self.look_up(table, rows), DOUBLE)
        return self.add("ReduceSum", exact, self.add.integers(PLACES), keepdims=0)

    def linear(self, name: str, values: str) -> str:
        weight = self.add.constant(self.arrays[f"{name}.weight"].T, f"{name}.weight")
        bias = self.add.constant(self.arrays[f"{name}.bias"], f"{name}.bias")
        return self.add("Add", self.add("MatMul", values, weight), bias)

    def norm(self, name: str, values: str) -> str:
        """Layer norm in single steps, because onnxruntime's operator loses digits."""
        add, axis = self.add, self.add.integers(LAST)
        centred = add("Sub", values, add("ReduceMean", values, axis))
        variance = add("ReduceMean", add("Mul", centred, centred), axis)
        deviation = add("Sqrt", add("Add", variance, add.number(NORM_EPSILON)))
        return self.scaled(name, add("Div", centred, deviation))

    def scaled(self, name: str, values: str) -> str:
        weight, bias = (
            self.add.constant(self.arrays[f"{name}.{suffix}"], f"{name}.{suffix}")
            for suffix in ("weight", "bias")
        )
        return self.add("Add", self.add("Mul", values, weight), bias)

    def gelu(self, values: str) -> str:
        """``x Phi(x)``."""
        add = self.add
        erf = add("Erf", add("Mul", values, add.number(1 / math.sqrt(2))))
        phi = add("Mul", add("Add", erf, add.number(1)), add.number(0.5))
        return add("Mul", values, phi)

    def look_up(self, name: str, rows: str) -> str:
        """Look up rows of any shape in a table, as float32."""
        add, table = self.add, self.tables[name]
        numbers: str = add("Gather", add.constant(table.numbers, name), rows)
        if table.numbers.dtype == np.float32:
            return numbers
        numbers = add.cast(numbers, FLOAT)
        if table.scale is None:
            return numbers
        scale = add.constant(table.scale, table.scale_name)
        if table.scale.ndim:
            scale = add.column(add("Gather", scale, rows), LAST)
        return add("Mul", numbers, scale)


def _small_table(
    numbers: NDArray[Any], encoded: EncodedArray | None
) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
    """Return a table in the fewest bits with a row of zeros at its end, and its scale, if there is one."""
    encoding, scale = None if encoded is None else encoded.settings["kind"], None
    if encoded is not None and encoding in ("float16", "int8"):
        numbers, scale = encoded.parts[""], encoded.parts.get(".scale")
    elif encoded is not None and encoding == "lzma":
        step = np.float32(encoded.settings["step"])
        numbers, scale = np.rint(numbers / step).astype(np.int8), np.array(step)
    if scale is not None and scale.ndim:
        scale = np.concatenate([scale, scale[:1]])
    return np.concatenate([numbers, np.zeros_like(numbers[:1])]), scale
