"""Data of the tests of the command line."""

from __future__ import annotations

POSITIVE = ("great lovely film", "i love this movie", "wonderful and great acting", "great great love")
NEGATIVE = ("awful boring film", "i hate this movie", "terrible and awful acting", "awful awful hate")
WHEN = (" then", " today", " again", " indeed")  # no text occurs twice or in another
ROWS = [
    (text + when, label)
    for label, texts in (("pos", POSITIVE), ("neg", NEGATIVE))
    for when in WHEN
    for text in texts
]
CSV = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)
TINY = ["--epochs", "1", "--device", "cpu"]
for setting in ("network.width=8", "network.context_width=0", "features.bits=12"):
    TINY += ["--set", setting]
