"""What holds of the papers' claims: a verdict for each, by a rule, from the measured figures alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from paper.claim import FAILS, HOLDS, NEAR, OPEN, OPERATIONS, Claim
from paper.comparison_tables import accuracies
from paper.published import (
    CLAIMED_SAVINGS,
    PUBLISHED_ROWS,
    ROWS,
    TRANSFORMER_ACCURACY,
    published,
)
from paper.study import Document, Table
from paper.study_claims import STUDY_CHECKS


def claims_table(document: Document) -> Table:
    """Every claim that the document has the figures for."""
    rows = [[one.claim, one.verdict, one.evidence, one.rule] for one in claims(document)]
    caption = "Claims of the papers, and questions that they leave open."
    return Table(caption, ["claim", "verdict", "evidence", "rule of the verdict"], rows, n_names=4)


def claims(document: Document) -> list[Claim]:
    """Judge every claim that the document has the figures for."""
    checks: tuple[Callable[[Document], Iterator[Claim]], ...] = (
        _accuracy,
        _against_the_transformer,
        _transformer_figure,
        _encoder,
        _first_choices,
        _parameters,
        _savings,
        *STUDY_CHECKS,
    )
    return [claim for check in checks for claim in check(document)]


def _mean(document: Document, dataset: str, key: str, name: str = "test_accuracy") -> float | None:
    found = document["datasets"].get(dataset, {}).get("systems", {}).get(key, {})
    values = accuracies(found, name)
    return sum(values) / len(values) if values else None


def _accuracy(document: Document) -> Iterator[Claim]:
    for dataset in document["datasets"]:
        for operation in OPERATIONS:
            said = published(f"wave-{operation}", dataset)
            mean = _mean(document, dataset, f"wave-{operation}")
            if not said or mean is None:
                continue
            best = max(row.accuracy for row in said)
            used = document["datasets"][dataset]["rows"]
            given, whole = used["train"] + used["validation"], PUBLISHED_ROWS[dataset]
            verdict = HOLDS if mean >= best - NEAR else (FAILS if given >= whole else OPEN)
            evidence = f"{mean:.2f} %, {mean - best:+.2f} points"
            bare = _mean(document, dataset, f"wave-{operation}-bare")
            if bare is not None:
                evidence += f"; {bare:.2f} % without what the papers do not state"
            if given < whole:
                evidence += f"; with {given:,} of {whole:,} training rows"
            yield Claim(
                f"Wave, {operation}, reaches {best:.2f} % on {dataset}",
                verdict,
                evidence,
                f"at most {NEAR:g} point below; on fewer rows than theirs a lower figure refutes nothing",
            )


def _against_the_transformer(document: Document) -> Iterator[Claim]:
    wave = _mean(document, "ag_news", "wave-modulation")
    rivals = {key: _mean(document, "ag_news", f"transformer-{key}") for key in ("pretrained", "random")}
    measured = {key: value for key, value in rivals.items() if value is not None}
    if wave is None or not measured:
        return
    said = max(row.accuracy for row in published("wave-modulation", "ag_news")) - TRANSFORMER_ACCURACY
    judged = "pretrained" if "pretrained" in measured else "random"
    gaps = {key: wave - value for key, value in measured.items()}
    evidence = ", ".join(f"{gap:+.2f} points against {key} embeddings" for key, gap in gaps.items())
    yield Claim(
        f"Wave beats a Transformer of one layer by {said:.1f} points on ag_news",
        HOLDS if gaps[judged] > said / 2 else FAILS,
        f"modulation {evidence}",
        f"the gap to {judged} embeddings is at least half of the published one",
    )


def _transformer_figure(document: Document) -> Iterator[Claim]:
    found: list[tuple[float, str]] = []
    for key, system in document["datasets"].get("ag_news", {}).get("systems", {}).items():
        if not key.startswith("transformer"):
            continue
        for run in system.get("runs", {}).values():
            for entry in run["history"]:
                for part in ("train", "validation", "test"):
                    value = 100 * entry[f"{part}_accuracy"]
                    found.append((value, f"{part} accuracy of {key}, epoch {entry['epoch']}"))
    if not found:
        return
    lowest_test = min(value for value, where in found if where.startswith("test"))
    nearest, where = min(found, key=lambda one: abs(one[0] - TRANSFORMER_ACCURACY))
    reached = any(
        abs(value - TRANSFORMER_ACCURACY) <= 3 for value, where in found if where.startswith("test")
    )
    yield Claim(
        f"{TRANSFORMER_ACCURACY} % is what a Transformer of one layer reaches on test texts of ag_news",
        HOLDS if reached else FAILS,
        f"lowest test accuracy after any epoch {lowest_test:.2f} %; of all accuracies the nearest is "
        f"{nearest:.2f} %, {where}",
        "some test accuracy, after any epoch, lies within 3 points",
    )


def _encoder(document: Document) -> Iterator[Claim]:
    for dataset in document["datasets"]:
        mean, said = _mean(document, dataset, "encoder"), published("encoder", dataset)
        if mean is not None and said:
            yield Claim(
                f"BERT base reaches {said[0].accuracy:.2f} % on {dataset}",
                OPEN,
                f"MiniLM, a fifth of its size, fine-tuned: {mean:.2f} %",
                "weights of BERT base are not at hand",
            )


def _first_choices(document: Document) -> Iterator[Claim]:
    for dataset, found in document["datasets"].items():
        simple = found["everyday"].get("tfidf")
        means = {operation: _mean(document, dataset, f"wave-{operation}") for operation in OPERATIONS}
        best = max((mean for mean in means.values() if mean is not None), default=None)
        if simple is None or "test_accuracy" not in simple or best is None:
            continue
        accuracy = 100 * simple["test_accuracy"]
        ahead = best - accuracy
        yield Claim(
            f"Wave is ahead of what a user would try first on {dataset} (not compared by the papers)",
            HOLDS if ahead > NEAR / 2 else (FAILS if ahead < -NEAR / 2 else OPEN),
            f"better operation {best:.2f} %, from four fifths of the rows; TF-IDF with a linear classifier "
            f"{accuracy:.2f} %, from all of them",
            f"ahead, or behind, by more than {NEAR / 2:g} point",
        )


def _parameters(document: Document) -> Iterator[Claim]:
    for dataset in document["datasets"].values():
        runs = list(dataset["systems"].get("wave-modulation", {}).get("runs", {}).values())
        if not runs:
            continue
        total, without = runs[0]["parameters"], runs[0]["parameters_without_embedding"]
        yield Claim(
            "The Wave network has 2.4 million parameters",
            HOLDS if round(without / 1e6, 1) == 2.4 else FAILS,
            f"{without:,} without the embedding, {total:,} with it",
            "the count without the table of embeddings rounds to 2.4 million",
        )
        return


def _savings(document: Document) -> Iterator[Claim]:
    rows = {(row.key, row.dataset, row.source): row for row in ROWS}
    bert = rows["encoder", "ag_news", "Table 2"]
    assert bert.gigabytes is not None
    assert bert.seconds is not None
    for name, unit in (("memory", "gigabytes"), ("time", "seconds")):
        follow = []
        for operation in OPERATIONS:
            wave = rows[f"wave-{operation}", "ag_news", "Table 2"]
            follow.append(100 * (1 - getattr(wave, unit) / getattr(bert, unit)))
        said = CLAIMED_SAVINGS[name]
        near = min(abs(value - said) for value in follow)
        yield Claim(
            f"Wave saves {said} % of BERT base's {name} (abstract)",
            HOLDS if near < 0.05 else FAILS,
            f"the paper's own Table 2 gives {min(follow):.2f} to {max(follow):.2f} % on AG News",
            "follows from the papers' own table to a tenth of a point",
        )
