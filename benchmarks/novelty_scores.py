r"""Compare ways to say how unlike training a text is, on pairs of data sets; no test set is read.

    python benchmarks/novelty_scores.py --preset fast

For each data set, a model is trained without the rows that ``benchmarks/sweep.py`` holds back. Each score
then has to tell those rows from the rows held back of every other set. AG News and IMDB, on which novelty is
reported, are left out. Writes ``results/benchmarks/novelty_scores.json``.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from measuring import RESULTS, code_state, write_document
from numpy.typing import NDArray
from probabilities import area_under_roc
from sweep import held_out

from token2wave.classifier import Classifier
from token2wave.inference.compiled import CompiledNetwork
from token2wave.inference.novelty import PRIOR_FEATURES
from token2wave.pipeline import train
from token2wave.versions import versions

SETS = ("trec", "banking77", "emotion", "dbpedia14", "sst2", "debian-sections")
MAX_TEXTS = 2_000
FIRST_WORDS = (None, 16, 8)
RARE = 5  # occurrences in training
Numbers = NDArray[np.float64]
CHOSEN = "unknown features, with 10 usual ones, + evidence"


class Scores:
    """Scores of texts, the larger the more novel; all but the last are plain.

    Args:
        classifier: trained, with tables.
        train_texts: what it has learnt from.
        usual: texts held back, whose deviations parts are scaled by.
    """

    def __init__(self, classifier: Classifier, train_texts: list[str], usual: list[str]) -> None:
        self.classifier = classifier
        features = classifier.features(train_texts)
        self.counts = np.bincount(features.ids, minlength=classifier.features.n_rows)
        self.surprise = -np.log((self.counts + 0.5) / self.counts.sum())
        self.unseen = -np.log(0.5 / self.counts.sum())
        waves = self._waves(train_texts)
        self.mean = waves.mean(axis=0)
        spread = np.cov(waves.T)
        spread += 1e-3 * np.trace(spread) / len(spread) * np.eye(len(spread))
        self.precision = np.linalg.inv(spread)
        found, n_unknown = classifier.features.with_unknown(usual)
        self.share = float(n_unknown.sum() / (n_unknown + found.lengths).sum())
        parts = self._plain(usual)
        self.deviations = {name: (values.mean(), values.std()) for name, values in parts.items()}

    def of(self, texts: list[str]) -> dict[str, Numbers]:
        """Every score of every text."""
        plain = self._plain(texts)
        scaled = {
            name: (values - self.deviations[name][0]) / self.deviations[name][1]
            for name, values in plain.items()
        }
        shrunk = scaled["unknown features, with 10 usual ones"]
        return {
            **plain,
            "unknown features + little evidence": scaled["unknown features"] + scaled["little evidence"],
            CHOSEN: shrunk + scaled["little evidence"],
            "unknown features, with 10 usual ones, + doubt": shrunk + scaled["doubt, 1 - probability"],
            "surprise + little evidence": scaled["surprise (log likelihood)"] + scaled["little evidence"],
        }

    def _plain(self, texts: list[str]) -> dict[str, Numbers]:
        features, n_unknown = self.classifier.features.with_unknown(texts)
        n_words = np.array([len(self.classifier.features.tokens(text).codes) for text in texts])
        owners = np.repeat(np.arange(len(texts)), features.lengths)
        n_all = np.maximum(n_unknown + features.lengths, 1)
        rare = np.bincount(owners, self.counts[features.ids] <= RARE, len(texts))
        known = np.bincount(owners, self.surprise[features.ids], len(texts))
        logits = self.classifier.network.logits(features).astype(np.float64)
        highest = logits.max(axis=1)
        evidence = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
        apart = self._waves(texts) - self.mean
        return {
            "unknown words": (n_words - features.n_ordered) / np.maximum(n_words, 1),
            "unknown features": n_unknown / n_all,
            "unknown features, with 10 usual ones": (n_unknown + PRIOR_FEATURES * self.share)
            / (n_all + PRIOR_FEATURES),
            "unknown or rare features": (n_unknown + rare) / n_all,
            "surprise (log likelihood)": (known + n_unknown * self.unseen) / n_all,
            "doubt, 1 - probability": 1 - np.exp(highest - evidence),
            "little evidence": -evidence,
            "Mahalanobis, text's waves": np.einsum("ni,ij,nj->n", apart, self.precision, apart),
        }

    def _waves(self, texts: list[str]) -> Numbers:
        """Real and imaginary parts of both of each text's waves, ``(N, 4 D)``."""
        assert isinstance(self.classifier.network, CompiledNetwork)
        sums = self.classifier.network.sums(self.classifier.features(texts))
        counts = np.maximum(sums.n_features, 1)[:, None]
        real = sums.total / counts
        waves: Numbers = np.concatenate(
            [real, np.sqrt(np.maximum(sums.squares / counts - real**2, 0))], axis=1
        )
        return waves


def main() -> None:
    """Compare all scores."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="fast")
    preset = parser.parse_args().preset
    data = {name: held_out(name, "whole" if name == "sst2" else "random") for name in SETS}
    random = np.random.default_rng(0)
    texts = {}
    for name, splits in data.items():
        assert splits.test is not None
        some = random.permutation(len(splits.test))[:MAX_TEXTS]
        texts[name] = [splits.test.texts[i] for i in some]
    areas: dict[str, dict[str, dict[str, float]]] = {}
    for name, splits in data.items():
        scores = Scores(
            train(splits, preset=preset, seed=0).classifier, splits.train.texts[: 5 * MAX_TEXTS], texts[name]
        )
        for words in FIRST_WORDS:
            cut = {other: [_first(text, words) for text in some] for other, some in texts.items()}
            own = scores.of(cut[name])
            for other in SETS:
                if other != name:
                    for score, values in scores.of(cut[other]).items():
                        found = areas.setdefault(score, {}).setdefault(str(words or "whole"), {})
                        found[f"{name} {other}"] = area_under_roc(own[score], values)
        print(name, flush=True)
    document: dict[str, Any] = {
        "preset": preset,
        "sets": SETS,
        "chosen": CHOSEN,
        "areas": areas,
        "code": code_state(),
        "versions": versions(),
    }
    write_document(RESULTS / "novelty_scores.json", document)


def _first(text: str, words: int | None) -> str:
    return text if words is None else " ".join(text.split()[:words])


if __name__ == "__main__":
    main()
