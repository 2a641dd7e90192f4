"""Texts of several clients computed together, without anyone waiting for company."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from token2wave.serving.limits import Limits
from token2wave.serving.prometheus import Metrics
from token2wave.serving.requests import RequestError

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

T = TypeVar("T")
SMALL = 1 << 12  # weight of a request that joins a batch; the core takes a tenth of a microsecond for each
TOGETHER = 1 << 15  # characters of a batch, so that it ends within milliseconds


def weight(texts: list[str]) -> int:
    """What texts count in the queue: their characters, and one for each."""
    return sum(map(len, texts)) + len(texts)


class Rows(NamedTuple):
    """Probabilities of texts, and the classifier that gave them: it may be replaced at any time."""

    classifier: Classifier
    probabilities: list[list[float]]


class Batcher:
    """Computes what requests ask for.

    Small requests that came in while others were computed, or in the same turn of the event loop, make one
    batch. The native core has it done before a thread would have begun, so that it is called at once; slower
    networks run in a thread. What takes long (many texts, long ones, explanations) runs in another thread,
    one after the other, and no small request waits for it. The core lets go of the interpreter lock.

    Args:
        classifier: computes; may be replaced between batches.
        limits: how many characters may wait.
        metrics: told of batches.
    """

    def __init__(self, classifier: Classifier, limits: Limits, metrics: Metrics) -> None:
        self.classifier = classifier
        self._limits, self._metrics = limits, metrics
        self._waiting: deque[tuple[list[str], asyncio.Future[Rows]]] = deque()
        self._busy = False
        self._characters = 0
        self._small = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large")

    async def rows(self, texts: list[str]) -> Rows:
        """Probabilities of a few short texts, in their order.

        Raises:
            RequestError: 503, too much is waiting.
        """
        characters = weight(texts)
        self._enter(characters)
        future: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        self._waiting.append((texts, future))
        if not self._busy:
            self._busy = True
            asyncio.get_running_loop().call_soon(self._begin)
        try:
            return await future
        finally:
            self._leave(characters)

    async def run(self, work: Callable[[Classifier], T], characters: int) -> T:
        """Have something done that takes long.

        Args:
            work: called with the classifier, in a thread.
            characters: of all its texts.

        Raises:
            RequestError: 503, too much is waiting.
        """
        self._enter(characters)
        self._metrics.queued.set(self._characters)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._large, lambda: work(self.classifier))
        finally:
            self._leave(characters)
            self._metrics.queued.set(self._characters)

    def close(self) -> None:
        """End the threads once they have done what they began."""
        self._small.shutdown(wait=False)
        self._large.shutdown(wait=False)

    def _enter(self, characters: int) -> None:
        if self._characters + characters > self._limits.queue_characters:
            self._metrics.rejected("queue").inc()
            raise RequestError(
                503,
                f"expected at most {self._limits.queue_characters:,} characters waiting, found "
                f"{self._characters:,} and {characters:,} more",
                location="queue",
                hint="try again later",
                headers=((b"retry-after", b"1"),),
            )
        self._characters += characters

    def _leave(self, characters: int) -> None:
        self._characters -= characters

    def _begin(self) -> None:
        """Compute what waits, or the beginning of it."""
        self._metrics.queued.set(self._characters)
        batch, n_characters = [], 0
        while self._waiting and n_characters < TOGETHER:
            entry = self._waiting.popleft()
            batch.append(entry)
            n_characters += sum(map(len, entry[0]))
        if not batch:
            self._busy = False
            return
        texts = [text for entry in batch for text in entry[0]]
        classifier = self.classifier
        loop = asyncio.get_running_loop()
        if classifier.computes_with == "native core":
            try:
                found = self.computed(classifier, texts)
            except Exception as error:
                _fail(batch, error)
            else:
                _deliver(batch, found)
            loop.call_soon(self._begin)  # in between, others are read and answered
            return

        def done(future: asyncio.Future[Rows]) -> None:
            if error := future.exception():
                _fail(batch, error)
            else:
                _deliver(batch, future.result())
            self._begin()

        loop.run_in_executor(self._small, self.computed, classifier, texts).add_done_callback(done)

    def computed(self, classifier: Classifier, texts: list[str]) -> Rows:
        """Compute probabilities here and now."""
        rows = classifier.probabilities(texts).tolist()
        self._metrics.texts.inc(len(texts))
        self._metrics.batch_texts.observe(len(texts))
        return Rows(classifier, rows)


def _deliver(batch: list[tuple[list[str], asyncio.Future[Rows]]], found: Rows) -> None:
    """Give everyone the rows of their own texts."""
    at = 0
    for texts, future in batch:
        if not future.done():  # who is gone has cancelled it
            future.set_result(Rows(found.classifier, found.probabilities[at : at + len(texts)]))
        at += len(texts)


def _fail(batch: list[tuple[list[str], asyncio.Future[Rows]]], error: BaseException) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
