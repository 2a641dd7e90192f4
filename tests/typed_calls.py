"""Calls that a type checker accepts, and calls that it refuses; ``make lint`` runs mypy on this file.

A refused call has a comment that ignores the error, and mypy is strict: it reports a comment without one.
"""

from __future__ import annotations

import token2wave

result = token2wave.train("a.csv", epochs=3)
accuracy: float = result.accuracy
token2wave.train(["a"], ["b"], test="b.csv", text="body", label="mood", class_weights={"spam": 5.0})
token2wave.train("a.csv", epochs="x")  # type: ignore[arg-type]
token2wave.train("a.csv", epoch=3)  # type: ignore[call-arg]
evaluation: token2wave.EvaluationResult = token2wave.evaluate(result.classifier, "a.csv", label="mood")
token2wave.evaluate(result.classifier, "a.csv", multi_label=True)  # type: ignore[call-arg]
label: str = token2wave.update(result.classifier, ["a"], ["b"], epochs=1).predict("a").label
token2wave.update("model", ["a"])  # type: ignore[arg-type]
token2wave.compress("a", "b", data="a.csv", storage=8)  # type: ignore[arg-type]
