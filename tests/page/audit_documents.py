"""Documents of audits, as ``audit.json`` has them, made without an audit."""

from __future__ import annotations

import zlib
from typing import Any

TEXTS = {
    "sport": "The striker scored twice in the final minutes while the home crowd sang.",
    "business": "Shares fell after the bank cut its forecast; analysts blame interest rates and weak orders.",
    "science": "A telescope in Chile has found water vapour on a small planet that circles a red dwarf star.",
    "world": "Ministers of both countries met at the border to sign the agreement on fishing rights.",
}
HOSTILE = '</script><img src=x onerror="document.title=1"> \u202e =cmd|"/C calc"!A0'


def fingerprint(text: str) -> str:
    return f"{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}"


def suspicious_row(row: int, text: str, label: Any, proposed: Any, **fields: Any) -> dict[str, Any]:
    """A suspicious row whose words have effects of both signs."""
    words = [[word, ((-1) ** i) * 2.5 / (1 + i % 5)] for i, word in enumerate(text.split())]
    return {
        "row": row,
        "split": "train",
        "fingerprint": fingerprint(text),
        "text": text,
        "fields": fields,
        "label": label,
        "proposed": proposed,
        "suspicion": round(1 - row / 1000, 3),
        "probability": round(0.99 - row / 1000, 3),
        "label_probability": 0.01,
        "words": words,
    }


def audit_document(n_rows: int = 50, **changes: Any) -> dict[str, Any]:
    """A document with suspicious rows of changing labels, and with findings."""
    labels = list(TEXTS)
    suspicious = []
    for i in range(n_rows):
        label, proposed = labels[i % 4], labels[(i + 1 + i // 7 % 3) % 4]
        text = f"{TEXTS[proposed]} Report {i}."
        row = suspicious_row(3 * i + 1, text, label, proposed, id=f"a{i}", source="wire")
        suspicious.append(row)
    return {
        "format": "token2wave-audit",
        "version": 1,
        "data": "news.csv",
        "rows": 1_000,
        "test_rows": 0,
        "labels": labels,
        "multi_label": False,
        "columns": ["id", "source", "text", "label"],
        "seconds": 3.1,
        "notes": ["The text is in the column `text`."],
        "accuracy": 0.86,
        "noise": 0.05,
        "attainable": {
            "noise": 0.05,
            "ceiling": 0.95,
            "accuracy": 0.9,
            "limit": 0.9,
            "limit_interval": [0.88, 0.93],
        },
        "learning_curve": {
            "measure": "accuracy",
            "sizes": [50, 100, 200, 400, 800],
            "scores": [0.62, 0.71, 0.78, 0.83, 0.86],
            "more_rows": 1_000,
            "gain": 0.02,
            "gain_interval": [0.01, 0.03],
            "doubling": 0.02,
            "doubling_interval": [0.01, 0.03],
            "classes": [
                {"label": label, "scores": [0.6, 0.8], "gain": 0.02, "gain_interval": [0, 0.1], "share": 0.25}
                for label in labels
            ],
            "main_classes": ["world"],
            "reason": None,
        },
        "suspicious": suspicious,
        "findings": [
            {
                "name": "contradictions",
                "title": "Same text, other label",
                "severity": "error",
                "count": 3,
                "hint": "Decide which label is right, and drop the other rows.",
                "rows": [[3, 88], [5, 9], 41],
                "examples": [
                    {
                        "row": 3,
                        "split": "train",
                        "text": TEXTS["sport"],
                        "label": "sport",
                        "detail": "the same text",
                    },
                    {"row": None, "text": "", "label": None, "detail": "several languages"},
                ],
            },
            {
                "name": "short",
                "title": "Texts of one character",
                "severity": "info",
                "count": 1,
                "hint": "Drop them if they are accidents.",
                "rows": [41],
                "examples": [{"row": 41, "text": "?", "label": "world"}],
            },
        ],
        **changes,
    }
