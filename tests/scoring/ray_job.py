"""Scores on a local cluster of two workers and kills one of them; run by ``test_ray.py``.

python ray_job.py MODEL INPUT OUTPUT PART_SIZE
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import token2wave


def kill_worker(output: Path) -> None:
    """Kill a worker while it writes an output part; the staged file's name holds its process id."""
    while True:
        journal = output / "_job" / "journal.jsonl"
        if journal.exists() and "\n" in journal.read_text():  # a part is finished
            for path in (output / "_job" / "staging").iterdir():
                os.kill(int(path.name.split(".")[1]), signal.SIGKILL)
                print(
                    "killed", path.name, "after", len(journal.read_text().splitlines()), "parts", flush=True
                )
                return
        time.sleep(0.001)


def main() -> None:
    """Run the job."""
    model, pages, output, part_size = sys.argv[1:]
    threading.Thread(target=kill_worker, args=(Path(output),), daemon=True).start()
    summary = token2wave.score(model, pages, output, engine="ray", workers=2, part_size=part_size)
    print(summary)


if __name__ == "__main__":
    main()
