r"""Few rows: what the defaults give beside tuned TF-IDF, Model2Vec and a frozen encoder.

    python benchmarks/few_shot.py
    python benchmarks/few_shot.py --resume --data ag_news,trec --rows 8 --rows-in-all "" --systems setfit

Rows are drawn from the training set, so many of each class or so many in all, the same for every system; the
whole test set says how many are right. The vectors of the frozen encoder are kept in ``build/``. Writes
``results/benchmarks/few_shot.json`` after each run; ``--resume`` keeps the runs that are there and adds those
that are missing.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from measuring import (
    BASELINE_PACKAGES,
    ROOT,
    comma_integers,
    comma_list,
    command_line,
    describe_origin,
    make_parser,
    read_earlier,
    write_document,
)
from numpy.typing import NDArray
from systems import SYSTEMS, Task, load_system
from systems.frozen_encoder import Encoder

from token2wave.core import n_threads
from token2wave.data import encode_labels, label_names_of, load_splits

SCHEMA = 2
DATA = ["ag_news", "trec", "banking77", "emotion", "sst2", "debian-sections"]
DATA_IN_ALL = ["ag_news", "imdb", "emotion", "sst2", "trec", "banking77"]
COMPARED = ["small", "tfidf_logistic_tuned", "model2vec_logistic", "model2vec_finetuned", "minilm_logistic"]
SPEED_TEXTS = 500


def draw_rows(labels: NDArray[np.int64], rows: str, draw: int) -> NDArray[np.int64]:
    """Numbers of the rows: ``"8"`` of each class, or ``"1000 in all"``."""
    order, number = np.random.default_rng(draw).permutation(len(labels)), int(rows.split()[0])
    if rows.endswith("in all"):
        return order[:number]
    return np.concatenate([order[labels[order] == label][:number] for label in np.unique(labels)])


def run(
    name: str, task: Task, test_texts: list[str], truth: NDArray[np.int64], speed: bool
) -> dict[str, Any]:
    """Accuracy and seconds of training; and, where it is asked for, texts predicted in a second."""
    system = load_system(name)
    system.prepare(task)
    Encoder.cache = ROOT / "build" / "encoder-vectors"
    start = time.perf_counter()
    model = system.fit(task)
    figures = {"train_seconds": time.perf_counter() - start}
    figures["accuracy"] = float((system.predict(model, test_texts) == truth).mean())
    if speed:
        Encoder.cache = None
        texts, start = test_texts[:SPEED_TEXTS], time.perf_counter()
        system.predict(model, texts)
        figures["texts_per_second"] = len(texts) / (time.perf_counter() - start)
    return figures


def main() -> None:
    """Run all systems on all draws."""
    parser = make_parser(__doc__, data=DATA)
    parser.add_argument("--rows", type=comma_integers, default=[8, 16, 32, 64], help="of each class")
    parser.add_argument("--rows-in-all", type=comma_integers, default=[1000], help="by commas")
    parser.add_argument("--data-in-all", type=comma_list, help="sets for these, if not those of --data")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--systems", type=comma_list, default=COMPARED, help=f"any of {', '.join(SYSTEMS)}")
    parser.add_argument("--resume", action="store_true", help="keep the runs of the result")
    options = parser.parse_args()
    if options.data_in_all is None:
        options.data_in_all = DATA_IN_ALL if options.data == DATA else options.data
    path = options.results / "few_shot.json"
    packages = (*BASELINE_PACKAGES, "model2vec", "transformers", "sentence-transformers", "setfit")
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "name": "few_shot",
        "command": command_line(__file__),
        **describe_origin(n_threads(), packages),
        "caveats": [],
        "systems": {},
        "rows": {},
    }
    if options.resume and (earlier := read_earlier(path, document)) is not None:
        document |= {key: earlier[key] for key in ("caveats", "systems", "rows")}
    warnings.simplefilter("ignore", UserWarning)  # of classifiers that have not converged
    for name in dict.fromkeys([*options.data, *options.data_in_all]):
        of_each = [str(rows) for rows in options.rows if name in options.data]
        in_all = [f"{rows} in all" for rows in options.rows_in_all if name in options.data_in_all]
        splits = load_splits(name)
        assert splits.test is not None
        document["caveats"] += [note for note in splits.caveats if note not in document["caveats"]]
        names = label_names_of(splits.train, splits.label_names)
        labels, truth = (encode_labels(split, names) for split in (splits.train, splits.test))
        for rows in (*of_each, *in_all):
            by_system = document["rows"].setdefault(name, {}).setdefault(rows, {})
            for draw in range(options.draws):
                chosen = draw_rows(labels, rows, draw)
                texts = [splits.train.texts[row] for row in chosen]
                for system in options.systems:
                    runs = by_system.setdefault(system, [])
                    if len(runs) > draw:
                        continue
                    with tempfile.TemporaryDirectory() as folder:
                        task = Task(texts, labels[chosen], names, draw, n_threads(), Path(folder))
                        runs.append(run(system, task, splits.test.texts, truth, rows.endswith("in all")))
                    about = load_system(system)
                    document["systems"][system] = {"name": about.name, "description": about.description}
                    write_document(path, document)
            means = {
                name: statistics.mean(run["accuracy"] for run in runs) for name, runs in by_system.items()
            }
            print(name, rows, {system: round(100 * mean, 2) for system, mean in means.items()}, flush=True)


if __name__ == "__main__":
    main()
