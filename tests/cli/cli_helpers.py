"""Data of the tests of the command line."""

from __future__ import annotations

POSITIVE = ("great lovely film", "i love this movie", "wonderful and great acting", "great great love")
NEGATIVE = ("awful boring film", "i hate this movie", "terrible and awful acting", "awful awful hate")
ROWS = [(text, "pos") for text in POSITIVE * 4] + [(text, "neg") for text in NEGATIVE * 4]
CSV = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)
TINY = ["--epochs", "1", "--device", "cpu"]
for setting in ("network.width=4", "network.context_width=0", "features.bits=12"):
    TINY += ["--set", setting]
