from collections.abc import Sequence
from typing import Any

def word_buckets(
    texts: list[str], classes: Any, lower: Any, ngrams: int, bits: int
) -> tuple[bytes, bytes]: ...
def count(buckets: Any, counts: Any) -> None: ...
def select_rows(
    buckets: Any, n_words: Any, ngrams: int, row_of_bucket: Any, cls: bool
) -> tuple[bytes, bytes, bytes]: ...
def document_frequency(ids: Any, offsets: Any, classes: Any, frequency: Any, last: Any) -> None: ...
def train(
    shape: Sequence[int],
    parameters: tuple[Any, ...],
    texts: tuple[Any, ...],
    settings: tuple[Any, ...],
    adam: tuple[float, ...],
    steps: tuple[int, int, int],
    n_threads: int,
) -> tuple[float, float]: ...
def fit_amplitudes(
    texts: tuple[Any, Any, Any],
    given: tuple[Any, Any, Any, Any, Any],
    made_of: tuple[Any, Any, Any],
    found: tuple[Any, Any],
    settings: tuple[int, float, int],
    n_threads: int,
) -> int: ...
def open_words(classes: Any, lower: Any, buckets: Any, ngrams: int, bits: int, cls: bool) -> object: ...
def open_tables(shape: Sequence[int], rows: Any, dense: Any) -> object: ...
def predict_texts(
    words: object, tables: object, texts: list[str], out: Any, as_probabilities: bool, n_threads: int
) -> None: ...
def predict_rows(
    tables: object, texts: tuple[Any, ...], out: Any, as_probabilities: bool, n_threads: int
) -> None: ...
def fixed_point_available() -> bool: ...
def fixed_point_product(
    a: tuple[Any, bool], b: tuple[Any, bool], out: Any, sizes: tuple[int, int, int], n_threads: int
) -> None: ...
