"""Computes the texts of several requests together. No request waits for others to arrive."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from token2wave.serving.limits import ServiceLimits
from token2wave.serving.prometheus import ServiceMetrics
from token2wave.serving.requests import RequestError

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

T = TypeVar("T")
SMALL_REQUEST = 1 << 12  # maximal size of a request that joins a batch; the core takes 0.1 us for each unit
BATCH_CHARACTERS = 1 << 15  # so that a batch takes a few milliseconds


def request_size(texts: list[str]) -> int:
    """The size of a request in the queue: its characters, and one for each text."""
    return sum(map(len, texts)) + len(texts)


class BatchResult(NamedTuple):
    """Probabilities of texts, and the classifier that computed them, which may be replaced at any time."""

    classifier: Classifier
    probabilities: list[list[float]]


Waiting = tuple[list[str], "asyncio.Future[BatchResult]"]


class Batcher:
    """Computes predictions for requests.

    Small requests that arrive while others are computed, or in the same turn of the event loop, form a batch.
    The native core is called directly, because it is done before a thread would have started. Slower networks
    run in a thread. Large requests and explanations run one by one in another thread, and small requests pass
    them. The core releases the interpreter lock.

    Args:
        classifier: computes; may be replaced between batches.
        limits: limits of the queue.
        metrics: counts batches and texts.
    """

    def __init__(self, classifier: Classifier, limits: ServiceLimits, metrics: ServiceMetrics) -> None:
        self.classifier = classifier
        self._limits, self._metrics = limits, metrics
        self._waiting: deque[Waiting] = deque()
        self._is_running = False
        self._n_queued = 0
        self._batch_thread = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._large_thread = ThreadPoolExecutor(1, thread_name_prefix="large")

    async def predict(self, texts: list[str]) -> BatchResult:
        """Predict a few short texts.

        Raises:
            RequestError: 503, the queue is full.
        """
        loop, size = asyncio.get_running_loop(), request_size(texts)
        self._enqueue(size)
        future: asyncio.Future[BatchResult] = loop.create_future()
        self._waiting.append((texts, future))
        if not self._is_running:
            self._is_running = True
            loop.call_soon(self._run_batch)
        try:
            return await future
        finally:
            self._n_queued -= size

    async def run(self, function: Callable[[Classifier], T], size: int) -> T:
        """Call a slow function with the classifier, in a thread.

        Args:
            function: the function.
            size: see :func:`request_size`.

        Raises:
            RequestError: 503, the queue is full.
        """
        loop = asyncio.get_running_loop()
        self._enqueue(size)
        self._metrics.queued.set(self._n_queued)
        try:
            return await loop.run_in_executor(self._large_thread, lambda: function(self.classifier))
        finally:
            self._n_queued -= size
            self._metrics.queued.set(self._n_queued)

    def compute(self, classifier: Classifier, texts: list[str]) -> BatchResult:
        """Compute probabilities, in the thread of the caller."""
        probabilities = classifier.probabilities(texts).tolist()
        self._metrics.texts.inc(len(texts))
        self._metrics.batch_texts.observe(len(texts))
        return BatchResult(classifier, probabilities)

    def close(self) -> None:
        """End the threads after the work they have started."""
        self._batch_thread.shutdown(wait=False)
        self._large_thread.shutdown(wait=False)

    def _enqueue(self, size: int) -> None:
        """Count a request as queued, or refuse it if the queue is full."""
        if self._n_queued + size > self._limits.queue_characters:
            self._metrics.rejected("queue").inc()
            problem = (
                f"expected at most {self._limits.queue_characters:,} characters in the queue, found more"
            )
            headers = ((b"retry-after", b"1"),)
            raise RequestError(503, problem, location="queue", hint="try again later", headers=headers)
        self._n_queued += size

    def _run_batch(self) -> None:
        """Compute the first texts of the queue."""
        self._metrics.queued.set(self._n_queued)
        batch: list[Waiting] = []
        texts: list[str] = []
        n_characters = 0
        while self._waiting and n_characters < BATCH_CHARACTERS:
            batch.append(self._waiting.popleft())
            texts += batch[-1][0]
            n_characters += sum(map(len, batch[-1][0]))
        if not batch:
            self._is_running = False
            return
        loop, classifier = asyncio.get_running_loop(), self.classifier
        if classifier.computes_with == "native core":
            _deliver(batch, lambda: self.compute(classifier, texts))
            loop.call_soon(self._run_batch)  # the loop reads and answers requests in between
            return

        def finish(future: asyncio.Future[BatchResult]) -> None:
            _deliver(batch, future.result)
            self._run_batch()

        loop.run_in_executor(self._batch_thread, self.compute, classifier, texts).add_done_callback(finish)


def _deliver(batch: list[Waiting], get_result: Callable[[], BatchResult]) -> None:
    """Give each request its own rows of a result, or the error."""
    try:
        classifier, probabilities = get_result()
    except Exception as error:
        for _, future in batch:
            if not future.done():
                future.set_exception(error)
        return
    start = 0
    for texts, future in batch:
        if not future.done():  # cancelled if the client is gone
            future.set_result(BatchResult(classifier, probabilities[start : start + len(texts)]))
        start += len(texts)
