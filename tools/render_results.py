"""Fill the figures of the documents from the JSON files under ``results/``.

    python tools/render_results.py            # writes them in place
    python tools/render_results.py --check    # exit status 1 if a document is out of date
    python tools/render_results.py --report build/reproduction/report.json    # the new one of the papers

A block between ``<!-- results: NAME -->`` and ``<!-- /results -->`` is replaced by what ``BLOCKS`` or a
sweep of that name gives.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from token2wave.prior.language_prior import ENGLISH, load_prior
from token2wave.reporting.summary import render_summary
from token2wave.training.result import Summary

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import figures  # noqa: E402
import tables  # noqa: E402

from paper.comparison_tables import counterparts_table  # noqa: E402
from paper.paper_report import (  # noqa: E402
    Section,
    evidence_table,
    markdown_table,
    render_figures,
    render_markdown,
    report_sections,
    summarise_accuracy,
    verdicts_table,
)
from paper.report_file import MEASURED, keep_report, read_report  # noqa: E402
from paper.studies import STUDIES  # noqa: E402

FIGURES = ROOT / "docs" / "figures"
RESULTS = ROOT / "results"
PAPER = ROOT / "paper"
BLOCK = re.compile(r"(<!-- results: (?P<name>[\w-]+) -->\n).*?(<!-- /results -->)", re.DOTALL)


def read(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def demo() -> str:
    """Render what ``make demo`` prints about its training, without the table of classes."""
    text = "\n".join(render_summary(Summary(**read(RESULTS / "demo.json"))))
    return "```text\n" + text.partition("\n\nClasses")[0] + "\n```\n"


BRANCHES = {
    "": "all three branches",
    "network.linear_svm=false": "without the linear SVM",
    "network.context_width=0": "without context",
    "network.context_width=0 network.linear_svm=false": "the waves of the text alone",
    "TF-IDF (1,2) + LinearSVC": "for comparison: TF-IDF + LinearSVC",
}
"""Variants of the sweep ``levels``, and what they are called in the table of branches."""


def branches() -> str:
    """Table of what each branch of an everyday model gives, from the sweep ``levels``."""
    document, facts = read(RESULTS / "sweeps" / "levels.json"), benchmark("tuned_rivals")["data"]
    sets = list(document["rows"][""])
    heads = [f"{data} (subset)" if facts[data]["caveats"] else data for data in sets]
    text = [
        f"| preset `{document['preset']}` | {' | '.join([*heads, 'mean'])} |",
        "|---|" + "---:|" * (len(sets) + 1),
    ]
    for variant, name in BRANCHES.items():
        row = [100 * statistics.mean(document["rows"][variant][data]["accuracy"]) for data in sets]
        text.append(
            f"| {name} | " + " | ".join(f"{value:.2f}" for value in [*row, statistics.mean(row)]) + " |"
        )
    caveats = [f"*{c}.*" for data in sets for c in facts[data]["caveats"] if "training rows" in c]
    measured = (
        document["measure"].replace("accuracy", "Accuracy in percent", 1).replace("held back", "held out")
    )
    measured += f"; mean of {len(document['seeds'])} seeds."
    return "\n".join([*text, "", measured, *caveats]) + "\n"


def sweep(name: str) -> str:
    """Table of a sweep made by ``benchmarks/sweep.py``."""
    document = read(RESULTS / "sweeps" / f"{name}.json")
    sets = list(next(iter(document["rows"].values())))
    text = [f"| variant | {' | '.join(sets)} |", "|---|" + "---|" * len(sets)]
    for variant, row in document["rows"].items():
        cells = [
            f"{100 * statistics.mean(row[data]['accuracy']):.2f}" if data in row else "" for data in sets
        ]
        name_shown = variant if " " in variant and "=" not in variant else f"`{variant}`"
        text.append(f"| {name_shown if variant else 'the preset at the time'} | {' | '.join(cells)} |")
    seeds = ", ".join(map(str, document["seeds"]))
    text.append("")
    measure = document["measure"].replace("held back", "held out")
    text.append(f"Preset `{document['preset']}`, seeds {seeds}; {measure}, in percent.")
    return "\n".join(text) + "\n"


class NotMeasured(Exception):  # noqa: N818 - it is no error
    """A benchmark, or a part of it, has not been run yet."""


def benchmark(name: str) -> Any:
    """Read a benchmark's result.

    Raises:
        NotMeasured: there is none.
    """
    path = RESULTS / "benchmarks" / f"{name}.json"
    if not path.is_file():
        raise NotMeasured
    return read(path)


def with_part(document: dict[str, Any], part: str) -> dict[str, Any]:
    """A benchmark's result that has a part.

    Raises:
        NotMeasured: it has not.
    """
    if part not in document:
        raise NotMeasured
    return document


def classifiers(name: str, data: str) -> str:
    """Table of one data set of a comparison."""
    document = benchmark(name)
    return tables.classifier_table(document, data).rstrip() + "\n"


def searches() -> str:
    """Table of what searches for settings gained."""
    path = RESULTS / "tuning.json"
    if not path.is_file():
        raise NotMeasured
    return tables.tuning_table(read(path))


def wave_trials(name: str, level: str) -> str:
    """Table of other waves, or of one level of them, on some sets."""
    path = RESULTS / "sweeps" / f"{name}.json"
    if not path.is_file():
        raise NotMeasured
    return tables.wave_trials_table(read(path), level)


def growth(study: str) -> str:
    """Table of how cost grows, and its figure."""
    document = benchmark("growth")
    if study not in document["studies"]:
        raise NotMeasured
    render_table = tables.training_growth_table if study.startswith("train-") else tables.growth_table
    table = render_table(document, study).rstrip()
    return f"![{study}](figures/growth-{study}.svg)\n\n{table}\n"


def prediction(data: str) -> str:
    """Table of what predicting costs on one data set, and its figure."""
    document = benchmark("prediction")
    if data not in document["medians"]:
        raise NotMeasured
    table = tables.prediction_table(document, data).rstrip()
    return f"![{data}: what predicting costs](figures/prediction-{data}.svg)\n\n{table}\n"


def probabilities() -> str:
    """Tables of calibration, abstention and novelty, and their figure."""
    found = tables.probability_tables(benchmark("probabilities")).rstrip()
    return f"![What probabilities and novelty are worth](figures/probabilities.svg)\n\n{found}\n"


def reliability(name: str) -> str:
    """Table of one part of what was tried of reliability."""
    part, table = tables.RELIABILITY_TABLES[name]
    found = tables.Results(RESULTS).parts.get(part)
    if found is None:
        raise NotMeasured
    return table(found)


def random_settings(document: dict[str, Any]) -> str:
    """What came of a sweep over random settings."""
    return (
        f"{document['n_cases']} cases of seed {document['seed']}: {document['failed']} failed; "
        f"{document['started_again']} were started again with smaller rates.\n"
    )


def distributed(part: str) -> str:
    """Table of what several processes gain, or of what they send each other."""
    document = benchmark("distributed")
    if part not in document:
        raise NotMeasured
    parts = {"time": tables.distributed_time_table, "traffic": tables.distributed_traffic_table}
    return parts[part](document)


@cache
def paper_document() -> dict[str, Any]:
    """Read the data of the reproduction."""
    return read_report(MEASURED)


@cache
def paper_sections() -> list[Section]:
    """Make the tables and figures of the reproduction, once."""
    return report_sections(paper_document())


def paper_page() -> str:
    """Render the long report of the reproduction."""
    return render_markdown(paper_document(), paper_sections(), "results/figures") + "\n"


def rivals() -> str:
    """Table of the everyday preset beside the best rivals, and a line on the papers' network alone."""
    table = tables.rivals_table(benchmark("tuned_rivals"), pre_trained=False).rstrip()
    return f"{table}\nPreset `paper`, the papers' network alone. {summarise_accuracy(paper_document())}\n"


def evidence(part: str) -> str:
    """Table of the claims on accuracy, or of a study, with verdict and evidence."""
    return evidence_table(paper_document(), part) + "\n"


def paper_figure(name: str) -> str:
    """A figure of the reproduction with its caption; a sentence instead while its study is not measured."""
    for section in paper_sections():
        if name in section.drawings:
            caption = section.drawings[name].caption
            alt = caption.replace("[", "(").replace("]", ")")
            return f"![{alt}](results/figures/{name}.svg)\n\n{caption}\n"
    return "The figure is not measured yet.\n"


def fuzzing() -> str:
    """What guided fuzzing did with each target."""
    path = RESULTS / "fuzzing.json"
    if not path.is_file():
        raise NotMeasured
    document = read(path)
    targets = document["targets"].values()
    heads = ("target", "inputs", "seconds, start included", "branches reached", "findings open")
    lines = [f"| {' | '.join(heads)} |", "|---|---:|---:|---:|---:|"]
    for name, one in document["targets"].items():
        figures = f"{one['executions']:,} | {one['seconds']:,.0f} | {one['edges']:,} | {one['findings']}"
        lines.append(f"| {name} | {figures} |")
    n_inputs, seconds = (sum(one[key] for one in targets) for key in ("executions", "seconds"))
    core = "those of the native core included" if document["native_edges"] else "without the native core"
    said = f"{n_inputs:,} inputs in {seconds / 60:.0f} minutes, Python {document['python']}; branches {core}."
    return "\n".join([*lines, "", said]) + "\n"


EXTRAS = {
    "parquet": "Parquet and `.zst` files",
    "score": "[scoring](scoring.md) JSON lines faster, and all of `parquet`",
    "excel": "spreadsheets",
    "wordpiece": "predicting with models of preset `paper`",
    "torch": "training preset `paper`, networks that do not [compile](predicting.md#what-compiles), "
    "[several devices](distributed.md)",
    "encoders": "[teachers](teachers.md), and starting from an encoder's embeddings",
    "sklearn": "the baseline, and the [estimator](scikit-learn.md)",
    "serve": "the [service](serving.md)",
    "onnx": "[ONNX](onnx.md) files",
    "hub": "data sets and models on the Hugging Face hub",
    "hf": "models of [`transformers`](hugging-face.md)",
    "ray": "[scoring on many machines](scoring.md)",
    "trackers": "[TensorBoard and MLflow](trackers.md)",
    "figures": "figures as PNG and SVG files",
    "all": "all of these",
}
"""What the extras are for."""


def extras() -> str:
    """Table of what each extra brings, and what the base takes."""
    document = read(RESULTS / "install.json")
    lines = ["| extra | what for | adds |", "|---|---|---:|"]
    for extra, purpose in EXTRAS.items():
        lines.append(f"| `{extra}` | {purpose} | {document['extras'][extra] / 1e6:,.0f} MB |")
    packages = document["packages"]
    largest = sorted(packages, key=packages.__getitem__, reverse=True)[:3]
    parts = ", ".join(f"{name} {packages[name] / 1e6:.0f} MB" for name in largest)
    base = f"The base takes {sum(packages.values()) / 1e6:.0f} MB ({parts}, ...). Extras share packages."
    method = (
        f"Measured by `make test-base`: {document['system']}, with byte code, without pip, torch for CPUs."
    )
    return "\n".join([*lines, "", base, method]) + "\n"


def prior() -> str:
    """Render what the shipped language prior holds and how good it is."""
    shipped, size = load_prior(), ENGLISH.stat().st_size / 1e6
    sizes = f"{len(shipped.hashes):,} words, {shipped.width} numbers each, {size:.2f} MB"
    return f"The prior for English ({sizes}): {shipped.description}.\n"


def kinds() -> str:
    """Table of the ways that each kind of model can go, and what the others say instead."""
    document = read(RESULTS / "kinds.json")
    heads = [f"[{kind}]({page})" for kind, page in document["kinds"].items()]
    text = [f"| | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    messages: dict[tuple[str, str], list[str]] = {}
    for way, page in document["ways"].items():
        row = document["outcomes"][way]
        text.append(f"| [{way}]({page}) | {' | '.join(row[kind]['works'] for kind in row)} |")
        for kind, outcome in row.items():
            if "says" in outcome:
                messages.setdefault((way, outcome["says"]), []).append(kind)
    text += ["", "What they say where it is no, or in part:", "", "| | kinds | message |", "|---|---|---|"]
    text += [f"| {way} | {', '.join(names)} | `{says}` |" for (way, says), names in messages.items()]
    return "\n".join(text) + "\n"


BLOCKS: dict[str, Callable[[], str]] = {
    "extras": extras,
    "fuzzing": fuzzing,
    "demo": demo,
    "kinds": kinds,
    "prior": prior,
    "branches": branches,
    "method": lambda: tables.classifier_method(benchmark("training_speed")).rstrip() + "\n",
    "paper_step": lambda: tables.paper_step_table(benchmark("paper_step")).rstrip() + "\n",
    **{f"classifiers-{data}": partial(classifiers, "training_speed", data) for data in ("ag_news",)},
    "rivals": rivals,
    "all-rivals": lambda: tables.rivals_table(benchmark("tuned_rivals")).rstrip() + "\n",
    "accuracies": lambda: tables.accuracy_table(benchmark("tuned_rivals")).rstrip() + "\n",
    "tuning": searches,
    **{
        f"{name}{'' if level == 'all' else '-of-' + level}": partial(wave_trials, name, level)
        for name in ("wave-trials", "wave-trials-whole", "wave-trials-blocks", "wave-trials-ag")
        for level in tables.WAVE_PARTS
    },
    **{
        name: partial(lambda each: tables.continuing_table(benchmark(each)), name)
        for name in ("continuing", "continuing-rates")
    },
    "probabilities": probabilities,
    "novelty-scores": lambda: tables.novelty_scores_table(benchmark("novelty_scores")) + "\n",
    "drift-detection": lambda: tables.drift_detection_table(benchmark("drift_detection")),
    "random-settings": lambda: random_settings(benchmark("random_settings")),
    **{f"prediction-{data}": partial(prediction, data) for data in ("ag_news", "imdb", "banking77")},
    "prediction-method": lambda: tables.prediction_method(benchmark("prediction")).rstrip() + "\n",
    "prior-speed": lambda: tables.prediction_table(benchmark("prior_speed"), "ag_news"),
    "streaming-large": lambda: tables.streaming_large_table(with_part(benchmark("streaming"), "large")),
    "streaming-accuracy": lambda: tables.streaming_accuracy_table(
        with_part(benchmark("streaming"), "accuracy")
    ),
    "serving": lambda: tables.serving_table(benchmark("serving")),
    "distillation": lambda: tables.teacher_table(benchmark("distillation")),
    "few_shot": lambda: tables.few_shot_table(benchmark("few_shot")),
    "what-would-help": lambda: tables.sentences_block(with_part(benchmark("learning_curves"), "example")),
    "predicted-gains": lambda: tables.predicted_gains_table(with_part(benchmark("learning_curves"), "rows")),
    "estimated-noise": lambda: tables.estimated_noise_table(with_part(benchmark("learning_curves"), "noise")),
    "planted-errors": lambda: tables.planted_errors_table(benchmark("label_errors")),
    "errors-found": lambda: tables.errors_found(benchmark("label_errors")),
    "corrected-labels": lambda: tables.corrected_labels_table(benchmark("label_errors")),
    "noisy-training": lambda: tables.noisy_training_table(benchmark("noisy_training")),
    "selection": lambda: tables.selection_table(benchmark("selection")),
    "selection-kappa": lambda: tables.kappa_table(benchmark("selection")),
    "interval-coverage": lambda: tables.interval_coverage_table(benchmark("interval_coverage")),
    "vectors": lambda: tables.vectors_table(benchmark("vectors")),
    "pairs": lambda: tables.pairs_table(benchmark("pairs")),
    "grades": lambda: tables.grades_table(benchmark("grades")),
    "long-documents": lambda: tables.long_documents_table(benchmark("long_documents")),
    "document-lengths": lambda: tables.document_lengths_table(benchmark("long_documents")),
    "languages": lambda: tables.languages_table(benchmark("languages")),
    "text-columns": lambda: tables.text_columns_table(benchmark("text_columns")),
    "scoring-rates": lambda: tables.scoring_rates_table(benchmark("scoring")),
    "scoring-killed": lambda: tables.scoring_killed_table(benchmark("scoring")),
    "scoring-cost": lambda: tables.scoring_cost_table(benchmark("scoring")),
    "scoring-efficiency": lambda: tables.scoring_efficiency_table(benchmark("scoring")),
    "html-page": lambda: tables.html_page_table(benchmark("html_page")),
    "page-quality": lambda: tables.page_quality_table(benchmark("page_quality")),
    "four-ways": lambda: tables.agreement_table(benchmark("four_ways")).rstrip() + "\n",
    "agreement": lambda: tables.agreement_table(benchmark("agreement")).rstrip() + "\n",
    "reproduction-summary": lambda: summarise_accuracy(paper_document()) + "\n",
    "reproduction-promises": lambda: markdown_table(counterparts_table(paper_document())) + "\n",
    "reproduction-verdicts": lambda: verdicts_table(paper_document()) + "\n",
    **{
        f"figure-{name}": partial(paper_figure, name) for name in ("phase", "phase-example", "depth", "pairs")
    },
    **{f"evidence-{part}": partial(evidence, part) for part in ("accuracy", *STUDIES)},
    "reliability": lambda: tables.promises_table(tables.Results(RESULTS)),
    **{name: partial(reliability, name) for name in tables.RELIABILITY_TABLES},
    **{f"distributed-{part}": partial(distributed, part) for part in ("time", "traffic")},
    "slow-ag_news": partial(classifiers, "slow", "ag_news"),
    **{
        f"growth-{study}": partial(growth, study)
        for study in (
            *("length", "width", "vocabulary", "batch", "texts"),
            *("train-rows", "train-words", "train-classes", "train-vocabulary"),
        )
    },
}


def render(text: str) -> str:
    """Fill every block of a document."""

    def fill(match: re.Match[str]) -> str:
        name = match["name"]
        try:
            content = BLOCKS[name]() if name in BLOCKS else sweep(name)
        except NotMeasured:
            content = "*Not measured yet.*\n"
        return match[1] + content + match[3]

    return BLOCK.sub(fill, text)


def draw_figures() -> None:
    """Draw the figures of the benchmarks into ``docs/figures``, and those of the reproduction."""
    for name, content in render_figures(paper_sections()).items():
        if name.endswith(".svg"):
            (PAPER / "results" / "figures" / name).write_bytes(content)
    FIGURES.mkdir(exist_ok=True)
    with suppress(NotMeasured):
        for name, content in figures.draw_growth(benchmark("growth")).items():
            if name.endswith(".svg"):
                (FIGURES / name).write_bytes(content)
    with suppress(NotMeasured):
        figures.draw_probabilities(benchmark("probabilities"), FIGURES / "probabilities.svg")
    with suppress(NotMeasured):
        figures.draw_selection(benchmark("selection"), FIGURES / "selection.svg")
    with suppress(NotMeasured):
        document = benchmark("training_speed")
        for data in document["medians"]:
            figures.draw_classifiers(document, data, FIGURES / f"classifiers-{data}.svg")
        figures.draw_trade(document, FIGURES / "trade.svg")
    with suppress(NotMeasured):
        document = benchmark("prediction")
        for data in document["medians"]:
            figures.draw_prediction(document, data, FIGURES / f"prediction-{data}.svg")


def main() -> int:
    """Render or check all documents."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--report", type=Path, help="the report of the papers from now on")
    options = parser.parse_args()
    check = options.check
    if options.report is not None:
        keep_report(read_report(options.report))
    if not check:
        draw_figures()
    stale = []
    report = PAPER / "reproduction.md"
    papers = [PAPER / "README.md", PAPER / "findings.md", report]
    for path in [ROOT / "README.md", *papers, *sorted((ROOT / "docs").glob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        rendered = paper_page() if path == report else render(text)
        if rendered != text:
            stale.append(path.relative_to(ROOT).as_posix())
            if not check:
                path.write_text(rendered, encoding="utf-8")
    print("out of date: " + ", ".join(stale) if stale else "all documents are up to date")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
