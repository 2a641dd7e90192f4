"""The methods of the C core. An array is anything with the buffer protocol, of the dtype and shape below."""

from collections.abc import Callable, Sequence
from typing import Any

def open_letters(*arrays: Any) -> object:
    """Open the Unicode table: the arrays of :class:`token2wave.features.normalisation.UnicodeTable`.

    Raises ValueError if they do not fit together.
    """

def token_hashes(texts: list[str], letters: object) -> tuple[bytes, bytes]:
    """Hash the tokens of texts: uint64 hashes in reading order, and int64 numbers of tokens of each text.

    letters: as :func:`open_letters` returns it.
    """

def token_buckets(
    hashes: Any, n_tokens: Any, ngrams: int, unspaced_ngrams: int, bits: int
) -> tuple[bytes, bytes]:
    """Return uint32 buckets: of each text those of its tokens, then of its 2-grams, and so on.

    Also returns their int64 number in each text. hashes: uint64, the tokens of all texts; n_tokens: int64, of
    each text.
    """

def count(buckets: Any, counts: Any) -> None:
    """Count uint32 buckets into uint32 counts, in place."""

def select_rows(
    buckets: Any, n_words: Any, n_features: Any, row_of_bucket: Any, cls: bool
) -> tuple[bytes, bytes, bytes]:
    """Return int32 rows of the buckets that have one (the others have -1), int64 lengths and n_ordered.

    n_words and n_features: int64, words and buckets of each text. With cls, row 0 stands before each text.
    """

def document_frequency(ids: Any, offsets: Any, classes: Any, frequency: Any, last: Any) -> None:
    """Add to frequency[row, class], int64, the number of texts of the class in which the row occurs.

    classes: (N,) int64, or empty if all texts are of one class. last: (rows,) int64, all -1 at first.
    """

def sum_rows(ids: Any, offsets: Any, table: Any, width: int, sums: Any) -> None:
    """Add the rows of each text's ids, but for ids below 0, to sums, (N, width) float64.

    table: (V, width) float32. Raises ValueError if an id is V or more or the offsets do not fit.
    """

def fingerprint(words: Any, offsets: Any, keys: Any, minima: Any) -> None:
    """Fill keys (N,) and minima (N, K), uint64, from the hashes of the words of N texts.

    keys depend on all words and their order. minima are MinHash values of the pairs of neighbouring words.
    """

def train(
    shape: Sequence[int],
    weights: tuple[Any, ...],
    examples: tuple[Any, ...],
    factors: tuple[Any, ...],
    adam: tuple[float, ...],
    steps: tuple[int, int, int, int],
    n_threads: int,
) -> tuple[float, float]:
    """Train in place on texts in the given order, in batches; return the sums of loss and right answers.

    weights: embedding, dense, mean, square, slots. examples: ids, offsets, n_ordered, labels, targets (N, C)
    float32 (empty if a text's label is its target), order. factors: row_rates, rate_factors, text_weights,
    positive_weights (C,) (empty if all classes count the same), row_rate, dropout, token_dropout,
    label_smoothing. adam: rate, weight_decay, beta_mean, beta_square, epsilon. steps: batch_size,
    context_words (0: all), first_step, seed.
    """

def fit_linear_svm(
    texts: tuple[Any, Any, Any],
    examples: tuple[Any, Any, Any, Any, Any],
    features: tuple[Any, Any, Any, float],
    weights: tuple[Any, Any, Any, Any, Any, Any],
    settings: tuple[Any, int, float, int],
    n_threads: int,
) -> None:
    """Fit one SVM for each class in place, from the weights given, for ``K`` factors of the costs.

    texts: ids, offsets, n_ordered. examples: labels (N,) int64 or targets (N, C) float32, the other empty;
    costs (N,); positive (C,) float32, factors of a text's cost for its own classes, or empty; dense
    (N, P) float32. features: gram_offsets, grams, energies, energy of the dense features. weights: rows
    (K, V, C) and bias (K, C) float32, the first of which hold the weights to start from; the n-grams'
    (K, G, C) and the dense features' (K, P, C) float32, passes (K, C) int64, which are only written; dual
    variables (N, C) float32 to start from, which the last ones replace. settings: factors (K,) float32,
    max_passes, tolerance, seed.
    """

def open_words(
    letters: object, buckets: Any, oov_hashes: Any, ngrams: int, unspaced_ngrams: int, bits: int, cls: bool
) -> object:
    """Open word features.

    letters: as :func:`open_letters` returns it. buckets: (V,) uint32, increasing, below 2^bits. oov_hashes:
    (K,) uint32, increasing.
    """

def oov_ids(words: object, texts: list[str]) -> tuple[bytes, bytes]:
    """Return int32 ids of the OOV table, text by text, and int64 counts (N, 2) of each text.

    The counts are of the ids, and of tokens with ids.
    """

def open_network(shape: Sequence[int], rows: Any, dense: Any) -> object:
    """Open a compiled network.

    rows: (V, R) float32, which must not change while it is open. dense: all other parameters, float32, in the
    order of ``WaveConfig.parameter_shapes``.
    """

def predict_texts(
    words: object,
    network: object,
    texts: list[str],
    out: Any,
    known: Any,
    output: int,
    n_threads: int,
) -> None:
    """Write numbers of texts into out, float32, and whether anything is known of each.

    output: 0 for logits (N, C), 1 for probabilities (N, C), 2 for waves (N, 2 D + 2 P), with C more columns
    for a linear SVM. known: (N,) bool.
    """

def predict_utf8(
    words: object,
    network: object,
    texts: tuple[Any, Any],
    out: Any,
    known: Any,
    output: int,
    n_threads: int,
) -> None:
    """As :func:`predict_texts`, for a buffer of UTF-8 and int64 offsets, which must not change meanwhile.

    Text i is utf8[offsets[i]:offsets[i + 1]].
    """

def predict_rows(network: object, texts: tuple[Any, ...], out: Any, output: int, n_threads: int) -> None:
    """Write numbers of texts that are features already into out, as :func:`predict_texts` does.

    texts: ids, offsets, n_ordered, n_oov_tokens (empty if there are none). They must not change meanwhile:
    they are checked once, and the lock of the interpreter is released.
    """

def explain_text(
    words: object,
    network: object,
    text: str,
    ends: Any,
    has_ends: bool,
    should_stop: Callable[[], bool] | None,
) -> tuple[bytes, bytes, bytes, bytes, bool, bool]:
    """Compute the logits of a text, and of the text without each of P parts.

    ends: int64, increasing, where each part ends, in code points; without has_ends, each token is a part.
    should_stop: asked between chunks of parts; once it is true, there are fewer parts.

    Returns spans (P, 2) int64 in code points, energies (P,) float64, whether anything of each part is known
    (P,) bool, logits (1 + P, C) float32, whether these are all parts, and whether anything of the text is
    known.
    """
