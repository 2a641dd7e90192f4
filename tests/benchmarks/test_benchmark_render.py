"""Tables and figures from a small document."""

import copy

import figures
import numpy as np
import tables
from measuring import pack_bits


def spread(value, low=None, high=None):
    return {"median": value, "min": value if low is None else low, "max": value if high is None else high}


def group(accuracy, seconds, files=0.0):
    figures = {
        "accuracy": spread(accuracy, accuracy - 0.01, accuracy + 0.01),
        "preparation_seconds": spread(files),
        "train_seconds": spread(seconds, 0.9 * seconds, 1.1 * seconds),
        "import_seconds": spread(1.0),
        "total_seconds": spread(seconds + files + 1),
        "texts_per_second": spread(1000 / seconds),
        "peak_memory_bytes": spread(500_000_000),
        "model_bytes": spread(12_345_678.5),
    }
    return {"runs": 3, "errors": [], "notes": [], "figures": figures}


FAILED = {"runs": 0, "errors": ["RuntimeError: Encountered NaN."], "notes": [], "figures": {}}
DOCUMENT = {
    "schema": 1,
    "name": "t",
    "command": "python benchmarks/compare.py --name t",
    "settings": {"runs": 3, "threads": 2},
    "machine": {"processor": "Some Processor"},
    "versions": {"python": "3.11", "fasttext": "0.9.3"},
    "data": {
        "news": {
            "train_rows": 1000,
            "test_rows": 500,
            "classes": 4,
            "characters_per_text": 123.4,
            "caveats": ["news: 1,000 training rows, not the complete official training set"],
        }
    },
    "systems": {
        "fast": {"name": "token2wave fast", "family": "token2wave", "description": "Ours.", "bias": "Known."},
        "ft": {"name": "fastText", "family": "fastText", "description": "Pairs.", "bias": "Files."},
        "mine": {"name": "mine", "family": "other", "description": "Own.", "bias": "None."},
    },
    "medians": {
        "news": {"fast": group(0.9, 2.0), "ft": group(0.91, 1.0, 0.5), "mine": FAILED, "new": FAILED}
    },
}


def test_table():
    table = tables.classifier_table(DOCUMENT, "news").splitlines()
    assert table[0].startswith("| system | accuracy | training | import | total | texts/s | peak memory |")
    assert table[2] == (
        "| fastText | 91.00 % (90.00 to 92.00) | 1.0 s + 500 ms | 1.0 s | 2.5 s | 1,000 | 500 MB | 12.3 MB |"
    )
    assert table[3] == (
        "| **token2wave fast** | **90.00 % (89.00 to 91.00)** | **2.0 s** | **1.0 s** | **3.0 s** | "
        "**500** | **500 MB** | **12.3 MB** |"
    )
    assert table[4] == "| mine | failed | - | - | - | - | - | - |"
    text = "\n".join(table)
    assert "1,000 training and 500 test texts, 4 classes, 123 characters a text." in text
    assert "*news: 1,000 training rows, not the complete official training set.*" in text
    assert "*mine, no figures: RuntimeError: Encountered NaN.*" in text
    assert len({line.count("|") for line in table if line.startswith("|")}) == 1


def test_accuracies_are_means_of_the_runs():
    def run(system, data, accuracy, error=None):
        return {"system": system, "data": data, "error": error, "figures": {"accuracy": accuracy}}

    document = copy.deepcopy(DOCUMENT)
    document["medians"]["mail"] = document["medians"]["news"]
    document["data"]["mail"] = {"caveats": []}
    document["runs"] = [
        *(run("fast", "news", share) for share in (0.90, 0.94)),
        *(run("fast", "mail", share) for share in (0.70, 0.70)),
        *(run("ft", "news", share) for share in (0.91, 0.91)),
        *(run("ft", "mail", share) for share in (0.80, 0.70)),
        run("mine", "news", 0.99),
        run("mine", "mail", 0.99, "it broke"),
    ]
    assert tables.accuracy_table(document).splitlines() == [
        "| system | news (subset) | mail | mean |",
        "|---|---:|---:|---:|",
        "| fastText | 91.00 | **75.00** | **83.00** |",
        "| token2wave fast | **92.00** | 70.00 | 81.00 |",
        "",
        "Test accuracy in percent, mean of 2 runs with different seeds.",
        "*mine is left out: it was not run, or failed, on some of the sets.*",
        "*news: 1,000 training rows, not the complete official training set.*",
    ]


def test_differences_to_the_best_rivals_have_paired_intervals():
    n = 400
    rows = np.arange(n)
    systems = {"small": "token2wave", "svm": "TF-IDF", "weak": "fastText", "encoder": "pre-trained"}
    right = {  # ours: where `svm` is, and on 20 or 10 further texts
        ("small", 1): rows < 320,
        ("small", 2): rows < 310,
        ("svm", 1): rows < 300,
        ("weak", 1): rows < 200,
        ("encoder", 1): (rows >= 20) & (rows < 330),
    }
    document = {
        "machine": {"processor": "a processor"},
        "systems": {key: {"name": key, "family": family} for key, family in systems.items()},
        "data": {data: {"caveats": [], "test_rows": n} for data in ("news", "mail")},
        "medians": {"news": {}, "mail": {}},
        "runs": [
            {"system": system, "data": data, "run": run, "error": None, "correct": pack_bits(bits)}
            | {"figures": {"accuracy": float(bits.mean()), "calibration_error": 0.01 * run}}
            for (system, run), bits in right.items()
            for data in ("news", "mail")
            if (system, data) != ("weak", "mail")
        ],
    }
    lead = (0.5 * (rows < 310) + 0.5 * (rows < 320)) - (rows < 300)
    half = 1.96 * 100 * lead.std(ddof=1) / np.sqrt(n)
    lines = tables.rivals_table(document).splitlines()
    assert lines[0].startswith(
        "| data | small | best rival that learns from the rows alone | difference | best"
    )
    row = f"| 78.75 ± 1.77 | svm: 75.00 | **+3.75 (+{3.75 - half:.2f} to +{3.75 + half:.2f})** |"
    assert lines[2].startswith(f"| news {row} encoder: 77.50 | +1.25 (-")
    half /= np.sqrt(2)  # of the mean of two sets
    assert lines[4].startswith(
        f"| mean | 78.75 | 75.00 | **+3.75 (+{3.75 - half:.2f} to +{3.75 + half:.2f})** |"
    )
    assert lines[0].endswith("| difference | calibration error |")
    assert "encoder" not in tables.rivals_table(document, pre_trained=False)
    assert lines[2].endswith("| 0.015 |")
    assert lines[-1].endswith("Processors: a processor. Not run: weak on mail.")
    for run in document["runs"]:
        del run["correct"]
    assert "| svm: 75.00 | +3.75 | encoder: 77.50 | +1.25 |" in tables.rivals_table(document)
    document["systems"]["small_no_prior"] = {"name": "without", "family": "token2wave"}
    document["runs"] += [
        {**run, "system": "small_no_prior", "figures": {"accuracy": 0.75}}
        for run in document["runs"]
        if run["system"] == "small"
    ]
    lines = tables.rivals_table(document).splitlines()
    assert lines[0].count("| difference | difference with `--no-prior` |") == 2
    assert "| svm: 75.00 | +3.75 | +0.00 | encoder: 77.50 | +1.25 | -2.50 |" in lines[2]


def test_few_rows_have_a_table_by_class_and_one_in_all():
    def runs(*accuracies, **figures):
        return [{"accuracy": accuracy, **figures} for accuracy in accuracies]

    speed = {"train_seconds": 2.0, "texts_per_second": 12_345.0}
    document = {
        "systems": {"small": {"name": "ours"}, "svm": {"name": "SVM", "description": "A machine."}},
        "caveats": [],
        "rows": {
            "news": {
                "8": {"small": runs(0.5, 0.6), "svm": runs(0.4)},
                "1000 in all": {"small": runs(0.8, **speed)},
            },
            "mail": {"1000 in all": {"small": runs(0.6, **speed), "svm": runs(0.5, train_seconds=1.0)}},
        },
    }
    assert tables.few_shot_table(document).splitlines() == [
        "| data | rows a class | ours | SVM |",
        "|---|---|---|---|",
        "| news | 8 | 55.00 ± 7.07 | 40.00 |",
        "",
        "| data | rows in all | ours | SVM |",
        "|---|---|---|---|",
        "| news | 1000 | 80.00 |  |",
        "| mail | 1000 | 60.00 | 50.00 |",
        "| mean, 1 set |  | 60.00 | 50.00 |",
        "| training, seconds, 1 set |  | 2.00 | 1.00 |",
        "| texts predicted in a second, 1 set |  | 12,345 | - |",
        "",
        "Test accuracy in %, mean ± standard deviation of 2 draws of the rows; ours: 1; SVM: 1.",
        "Means are of the sets that all systems have.",
        "*SVM*: A machine.",
    ]


def test_remarks_on_systems_with_figures():
    document = copy.deepcopy(DOCUMENT)
    document["medians"]["news"]["ft"] |= {"runs": 2, "errors": ["it broke"], "notes": ["did not converge"]}
    text = tables.classifier_table(document, "news")
    assert "*fastText, 2 runs made, then it broke*" in text
    assert "*fastText warned: did not converge*" in text


def test_method_names_machine_versions_and_every_bias():
    text = tables.classifier_method(DOCUMENT)
    assert "Medians of 3 runs" in text
    assert "2 threads of Some Processor" in text
    assert "fasttext 0.9.3" in text
    assert "- **token2wave fast**: Ours. Known." in text
    assert "- **fastText**: Pairs. Files." in text


def test_figure_is_the_same_every_time(tmp_path):
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    figures.draw_classifiers(DOCUMENT, "news", first)
    figures.draw_classifiers(DOCUMENT, "news", second)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_text().count("<!-- token2wave fast -->") == 1
    assert "mine" not in first.read_text()


def test_table_of_steps():
    side = {"texts_per_second": spread(500.0, 490.0, 510.0), "extrapolated_epoch_seconds": 240.0}
    ours = {**side, "ratio_to_padded": spread(10.0)}
    slow = {"texts_per_second": spread(50.0, 49.0, 51.0), "extrapolated_epoch_seconds": 2400.0}
    speed = {"ours": ours, "padded": slow, "extrapolation": "It is extrapolated."}
    document = {
        "speed": speed,
        "speed_with_dropout": speed,
        "speed_of_the_preset": {"ours": side, "precision": "auto"},
        "memory": {
            "ours": {"peak_bytes": 800_000_000, "data_loaded_bytes": 300_000_000},
            "padded": {"peak_bytes": 2_000_000_000, "data_loaded_bytes": 300_000_000},
        },
        "losses": {
            "steps": 100,
            "ours": {"rows": {"meaning": "as it is", "largest_difference": 0.0123, "at_step": 7}},
        },
        "settings": {"runs": 1, "steps": 100, "threads": 1},
        "turn_steps": 10,
        "machine": {"processor": "Some Processor"},
        "data": {"caveats": ["a caveat"]},
    }
    text = tables.paper_step_table(document)
    assert "| no dropout: ours | 500 (490 to 510) | **10.0** | 4 min 0 s |" in text
    assert "| no dropout: padded | 50 (49 to 51) | - | 40 min 0 s |" in text
    assert "| the preset as it is, precision auto: ours | 500 (490 to 510) | - | 4 min 0 s |" in text
    assert "ours 800 MB, padded 2 GB" in text
    assert "- `rows` (as it is): 1.2e-02, in step 7." in text
    assert "Medians of 1 run of 10 steps each" in text
    assert "1 thread of Some Processor. It is extrapolated." in text
