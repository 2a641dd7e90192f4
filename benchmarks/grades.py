r"""Grades: what learning the order of grades gives beside a binary cut, classes and a ridge regression.

    python benchmarks/grades.py
    python benchmarks/grades.py --rows 2000 --seeds 0

The texts are training rows of IMDB with the stars of their review, 1 to 4 and 7 to 10. Of each draw, 5,000
rows are held out, and every system learns from the same other rows. ``binary`` learns whether a review has
more than five stars, which is the natural cut, and ranks by the probability; so does fastText. ``classes``
learns each number of stars as a label, and ranks by the expected stars. No test row is used.

Writes ``results/benchmarks/grades.json`` after each run.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measuring import (
    BASELINE_PACKAGES,
    comma_integers,
    comma_list,
    command_line,
    describe_origin,
    make_parser,
    write_document,
)
from numpy.typing import NDArray

from token2wave import train
from token2wave.core import n_threads
from token2wave.data import load_splits
from token2wave.options import DataOptions
from token2wave.score_metrics import evaluate_scores

SCHEMA = 1
DATA, COLUMN, CUT = "imdb", "rating", 5.5
HELD_OUT = 5_000
ALPHAS = (0.1, 0.3, 1.0, 3.0, 10.0)
SYSTEMS = ["ordinal", "score", "binary", "classes", "ridge", "fasttext"]

Texts = list[str]
Numbers = NDArray[np.float64]
Predicted = tuple[Numbers, Numbers | None]  # scores, and the bounds of intervals


def ordinal(texts: Texts, grades: Numbers, others: Texts, seed: int, target: str = "ordinal") -> Predicted:
    """Our models of grades or scores."""
    classifier = train(texts, grades.tolist(), target=target, seed=seed).classifier
    probabilities = classifier.probabilities(others)
    scale = classifier.require_scale("benchmark")
    return scale.scores(probabilities).astype(np.float64), scale.intervals(probabilities)


def score(texts: Texts, grades: Numbers, others: Texts, seed: int) -> Predicted:
    """Our model of scores."""
    return ordinal(texts, grades, others, seed, "score")


def binary(texts: Texts, grades: Numbers, others: Texts, seed: int) -> Predicted:
    """The probability that our classifier gives to the grades above the cut."""
    labels = ["above" if grade > CUT else "below" for grade in grades]
    classifier = train(texts, labels, seed=seed, baseline=False).classifier
    return classifier.probabilities(others)[:, 0].astype(np.float64), None


def classes(texts: Texts, grades: Numbers, others: Texts, seed: int) -> Predicted:
    """The expected grade of our classifier of grades as labels."""
    labels = [str(int(grade)) for grade in grades]
    classifier = train(texts, labels, seed=seed, baseline=False).classifier
    return classifier.probabilities(others) @ np.array(list(map(float, classifier.label_names))), None


def ridge(texts: Texts, grades: Numbers, others: Texts, seed: int) -> Predicted:
    """Ridge regression on TF-IDF of words and pairs of words; a tenth of the rows chooses alpha."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    matrix, n = vectorizer.fit_transform(texts), len(texts) * 9 // 10

    def fit(alpha: float, rows: int) -> Any:
        return Ridge(alpha=alpha, solver="sparse_cg", random_state=seed).fit(matrix[:rows], grades[:rows])

    def rank_correlation(alpha: float) -> float:
        return evaluate_scores(grades[n:], fit(alpha, n).predict(matrix[n:])).spearman or 0.0

    best = fit(max(ALPHAS, key=rank_correlation), len(texts))
    return np.clip(best.predict(vectorizer.transform(others)), grades.min(), grades.max()), None


def fasttext(texts: Texts, grades: Numbers, others: Texts, seed: int) -> Predicted:
    """The probability that fastText gives to the grades above the cut, with pairs of words and ten epochs."""
    import fasttext as library
    from systems.fasttext_systems import LABEL, normalized, write_lines

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.txt"
        write_lines(path, texts, (grades > CUT).astype(np.int64), range(len(texts)))
        settings = {"wordNgrams": 2, "epoch": 10, "lr": 0.5, "thread": 1, "seed": seed, "verbose": 0}
        model = library.train_supervised(input=str(path), **settings)
    labels, probabilities = model.predict([normalized(text) for text in others], k=2)
    rows = (dict(zip(*row, strict=True)) for row in zip(labels, probabilities, strict=True))
    return np.array([row.get(f"{LABEL}1", 0.0) for row in rows]), None


RUN: dict[str, Callable[[Texts, Numbers, Texts, int], Predicted]] = {
    "ordinal": ordinal,
    "score": score,
    "binary": binary,
    "classes": classes,
    "ridge": ridge,
    "fasttext": fasttext,
}


def main() -> None:
    """Measure each system on each draw."""
    parser = make_parser(__doc__, name="grades", seeds=[0, 1])
    parser.add_argument("--rows", type=comma_integers, default=[2_000, 6_000, 20_000], help="that are learnt")
    parser.add_argument("--systems", type=comma_list, default=SYSTEMS, help="by commas")
    arguments = parser.parse_args()
    rows = load_splits(DATA, DataOptions(label_column=COLUMN), as_numbers=True).train
    grades = rows.read_scores()
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "command": command_line(__file__),
        **describe_origin(n_threads(), BASELINE_PACKAGES),
        "data": DATA,
        "held_out": HELD_OUT,
        "runs": [],
    }
    for n_rows in arguments.rows:
        for seed in arguments.seeds:
            order = np.random.default_rng(seed).permutation(len(rows))
            held_out, learnt = order[:HELD_OUT], order[HELD_OUT : HELD_OUT + n_rows]
            texts, others = ([rows.texts[i] for i in each.tolist()] for each in (learnt, held_out))
            for name in arguments.systems:
                start = time.process_time()
                predicted, intervals = RUN[name](texts, grades[learnt], others, seed)
                seconds = time.process_time() - start
                is_score = name not in ("binary", "fasttext")  # whose probabilities are no stars
                figures = evaluate_scores(grades[held_out], predicted, None, intervals, CUT)
                run = {
                    "system": name,
                    "rows": n_rows,
                    "seed": seed,
                    "spearman": figures.spearman,
                    "interval": figures.intervals["spearman"],
                    "mae": figures.mae if is_score else None,
                    "auc": figures.auc,
                    "coverage": figures.coverage,
                    "cpu_seconds": seconds,
                }
                document["runs"].append(run)
                write_document(arguments.results / f"{arguments.name}.json", document)
                print(f"{n_rows:,} rows, seed {seed}, {name}: Spearman {figures.spearman:.4f}", flush=True)


if __name__ == "__main__":
    main()
