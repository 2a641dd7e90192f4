from __future__ import annotations

import errno
import json
import re
import sys
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from report_data import BASELINE, CAVEATS, a_summary, without_evaluation, without_test_set

from token2wave.errors import MissingExtraError, OutputError
from token2wave.metrics import EvaluatedText, evaluate_predictions
from token2wave.reporting.html_report import prose
from token2wave.reporting.report import write_report
from token2wave.training.loop import Epoch

NAMES = ["report.json", "report.html"]
FIGURES = ["confusion.png", "confusion.svg", "learning.png", "learning.svg"]
VOID = {"meta", "link", "br", "wbr", "hr", "img", "input", "col"}
PNG = b"\x89PNG\r\n\x1a\n"
HOSTILE = (
    "<script>alert(1)</script>",
    "</svg></table>",
    "$\\frac{1}$ $x_$",
    "id=\"a\" onload='b' & &amp; ]]> -->",
    "日本語のとても長いラベル" * 20,
    "عربى \u202e gnitteg",
    "\x00\x1b[31m\n\ud800",
    "\U0001f600\U0010fffd",
    "",
    "x" * 500,
    "$title ${caveats} %s {0}",
)


class Page(HTMLParser):
    """Checks that tags nest, and keeps what tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.cells: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, attrs)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            if name == "popovertarget":
                self.addresses.append(f"#{value}")
            if name in ("src", "href", "xlink:href", "action", "data", "poster"):
                self.addresses.append(str(value).strip())

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data
            if {"td", "th"} & set(self.open):
                self.cells[-1] += data


def page_of(folder: Path) -> tuple[str, Page]:
    text = (folder / "report.html").read_text("utf-8")
    return text, Page(text)


def test_report_holds_every_file(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "er"
    summary = a_summary(baseline=BASELINE)
    assert write_report(summary, folder) == [folder / name for name in NAMES]
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    plain = json.loads((folder / "report.json").read_text("utf-8"))
    texts = [{name: text[name] for name in text if name != "words"} for text in summary.evaluated_texts]
    assert plain.pop("evaluated_texts") == texts
    assert plain == summary.to_dict()


def test_figures_are_files_that_matplotlib_draws(tmp_path: Path) -> None:
    assert write_report(a_summary(), tmp_path, figures=True) == [tmp_path / n for n in NAMES + FIGURES]
    for name in FIGURES:
        content = (tmp_path / name).read_bytes()
        if name.endswith(".png"):
            assert content.startswith(PNG)
        else:
            assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
            assert b"metadata" not in content


def test_a_report_needs_no_matplotlib_but_its_figures_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write_report(a_summary(), tmp_path / "page")
    with pytest.raises(MissingExtraError, match=r"pip install 'token2wave\[figures\]'"):
        write_report(a_summary(), tmp_path / "figures", figures=True)
    assert not (tmp_path / "figures").exists()


def test_files_have_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    for path in write_report(a_summary(), tmp_path):
        assert path.stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_page_shows_the_run(tmp_path: Path) -> None:
    write_report(a_summary(baseline=BASELINE, accuracy=0.8125, macro_f1=0.75), tmp_path)
    text, page = page_of(tmp_path)
    for part in (
        "81.2%",
        "75.0%",
        "87.5%",
        "of 4, by 100 validation rows",
        "naive Bayes",
        "+31.2 points",
        "+50.0 points",
        "1 min 23 s",
        "15,234 texts/s",
        "812 MB",
        "7,712,345",
        "1,182,340 without the embedding",
        "30.9 MB",
        "made-up",
        "lr",
        "0.001",
        "a processor",
        "token2wave train --data 'a & b.csv' --report out",
        "3 (kept)",
        "modulation",
    ):
        assert part in page.text, part
    assert page.seen.count("table") == page.seen.count("caption") == 11
    assert ("scope", "col") in page.attributes
    assert ("scope", "row") in page.attributes
    assert page.seen.count("svg") == page.attributes.count(("role", "img")) == 2
    assert len(page.ids) == len(set(page.ids))
    assert "prefers-color-scheme: dark" in text


def test_page_says_that_no_rows_were_held_out(tmp_path: Path) -> None:
    write_report(a_summary(validation_rows=0), tmp_path)
    text, _ = page_of(tmp_path)
    assert "validation figures are of the training texts, which choose the epoch" in text
    assert "Validation rows choose" not in text


def test_page_asks_nothing_of_the_network_and_runs_nothing(tmp_path: Path) -> None:
    write_report(a_summary(30), tmp_path)
    text, page = page_of(tmp_path)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "script" not in page.seen
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert re.findall(r"url\((?!#)", text) == []
    for used in re.findall(r"url\(#([^)]*)\)", text) + [a[1:] for a in page.addresses if a.startswith("#")]:
        assert used in page.ids


def test_caveats_stand_between_the_accuracy_and_the_other_figures(tmp_path: Path) -> None:
    write_report(a_summary(), tmp_path)
    _, page = page_of(tmp_path)
    places = [page.text.index(part) for part in ("Accuracy", *CAVEATS, "Training speed")]
    assert places == sorted(places)
    write_report(a_summary(caveats=()), tmp_path)
    assert "Read with care" not in page_of(tmp_path)[1].text


def test_without_a_test_set_the_page_names_the_rows(tmp_path: Path) -> None:
    write_report(without_test_set(peak_memory_bytes=None, command=None), tmp_path)
    _, page = page_of(tmp_path)
    assert "of 60 held-back rows were right" in page.text
    assert "Scores of each class on the held-out rows." in page.text
    assert "None" not in page.text


def test_without_evaluation_there_are_dashes(tmp_path: Path) -> None:
    write_report(without_evaluation(baseline=BASELINE), tmp_path)
    _, page = page_of(tmp_path)
    assert "could not be measured" in page.text
    assert page.cells[page.cells.index("Accuracy") + 1] == "-"
    assert "Confusions" not in page.text


def test_without_evaluation_or_history_there_are_no_figures_of_them(tmp_path: Path) -> None:
    summary = without_evaluation(history=(), best_epoch=None, settings={})
    assert [path.name for path in write_report(summary, tmp_path)] == NAMES[:2]
    assert "svg" not in page_of(tmp_path)[1].seen


@pytest.mark.parametrize("n_classes", [1, 2, 16, 77, 150])
def test_any_number_of_classes(n_classes: int, tmp_path: Path) -> None:
    summary = a_summary(n_classes)
    write_report(summary, tmp_path)
    text, _ = page_of(tmp_path)
    assert matrix_of(text) == summary.evaluation["confusion"]
    assert ("<small>" in text.partition('class="matrix')[2].partition("</table>")[0]) == (n_classes <= 20)
    assert len(text) < 1_000_000


def matrix_of(text: str) -> tuple[tuple[int, ...], ...]:
    """Read the confusion matrix back from the page."""
    body = text.partition('class="matrix')[2].partition("<tbody>")[2].partition("</tbody>")[0]
    rows = []
    for row in re.findall("<tr>(.*?)</tr>", body):
        cells = re.findall(r'<td[^>]*?(?:colspan="(\d+)")?>(?:<button[^>]*>)?([\d,]*)', row)
        rows.append(tuple(n for span, number in cells for n in [int(number or 0)] * int(span or 1)))
    return tuple(rows)


def test_every_cell_opens_its_texts(tmp_path: Path) -> None:
    summary = a_summary(4)
    write_report(summary, tmp_path)
    text, _ = page_of(tmp_path)
    matrix = text.partition('class="matrix')[2].partition("</table>")[0]
    pairs = {(each["label"], each["predicted"]) for each in summary.evaluated_texts}
    assert matrix.count("<button") == len(pairs) == sum(map(bool, np.array(matrix_of(text)).ravel()))
    wrong = summary.evaluated_texts[0]
    title = f"{wrong['label']} as {wrong['predicted']}:"
    (anchor,) = re.findall(f'title="{title}[^>]*><button popovertarget="([^"]*)">', matrix)
    panel = Page(text[text.index(f'<div popover id="{anchor}"') :].partition("</div>")[0] + "</div>")
    assert f"{wrong['label']} predicted as {wrong['predicted']}" in panel.text
    assert f"{wrong['text']} row {wrong['row']}" in panel.text
    assert {"h3", "ol", "li"} <= set(panel.seen)
    assert ("autofocus", None) in panel.attributes  # so that the keyboard scrolls it
    words = f'<span class="f3">text</span> {wrong["row"] - 1} <span class="a2">&lt;b&gt;</span>'
    assert f"<bdi>{words}</bdi>" in text
    assert f"Words speak for {wrong['predicted']}, words for {wrong['label']}." in panel.text
    assert (
        "The least sure first. Words speak for class 0, words for the next label."
        in page_of(tmp_path)[1].text
    )
    few = [each for each in summary.evaluated_texts if each["label"] != each["predicted"]]
    right = [each for each in summary.evaluated_texts if each["label"] == each["predicted"] == "class 0"]
    write_report(a_summary(4, evaluated_texts=[*few, right[0]]), tmp_path)
    assert f"The least sure first, 1 of {len(right)}." in page_of(tmp_path)[1].text
    write_report(a_summary(4, evaluated_texts=()), tmp_path)
    assert "<button" not in page_of(tmp_path)[0]


def test_very_many_classes_have_no_matrix(tmp_path: Path) -> None:
    write_report(a_summary(evaluation=a_summary().evaluation | {"confusion": ()}), tmp_path, figures=True)
    _, page = page_of(tmp_path)
    assert "Confusions" not in page.text
    assert "Scores of each class" in page.text


def test_wrong_decisions_of_multi_label_texts_open_by_class(tmp_path: Path) -> None:
    texts = [EvaluatedText(1, "x", "class 1", None, 0.9), EvaluatedText(None, "y", None, "class 1", 0.8)]
    evaluation = a_summary().evaluation | {"confusion": (), "micro_f1": 0.5}
    summary = a_summary(evaluated_texts=texts, evaluation=evaluation, validation_micro_f1=0.5, micro_f1=0.5)
    write_report(summary, tmp_path, figures=True)
    _, page = page_of(tmp_path)
    assert page.cells[page.cells.index("missed") + 2 :][:3] == ["class 1", "1", "1"]
    assert "class 1 missed" in page.text
    assert "class 1 predicted wrongly" in page.text


def test_labels_without_a_class_are_a_row_of_the_matrix(tmp_path: Path) -> None:
    truth, predicted = np.array([0, 1, 2, 2]), np.array([0, 1, 0, 1])
    evaluation = evaluate_predictions(truth, predicted, ("a", "b"))
    write_report(a_summary(label_names=("a", "b"), evaluation=evaluation), tmp_path, figures=True)
    assert matrix_of(page_of(tmp_path)[0]) == ((1, 0, 0), (0, 1, 0), (1, 1, 0))


def test_hostile_names_are_text(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"features": {"<b>k</b>": "<i>v"}, "network": {}, "recipe": {}}
    summary = a_summary(
        label_names=HOSTILE,
        data="</title><script>",
        command="<script>\x00",
        caveats=["<img src=x onerror=y>"],
        baseline=BASELINE | {"name": "<u>"},
        settings=settings,
        preset='"><script>',
    )
    write_report(summary, tmp_path)
    text, page = page_of(tmp_path)
    assert not {"script", "b", "i", "u", "img"} & set(page.seen)
    assert summary.evaluated_texts
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert page.seen.count("svg") == 2
    for label in (HOSTILE[0], HOSTILE[2], HOSTILE[3], HOSTILE[4], HOSTILE[9], HOSTILE[10]):
        assert label in page.cells
    assert "<img src=x onerror=y>" in page.text
    assert "\x00" not in text
    assert "\u202e" not in text
    plain = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert plain["label_names"] == list(HOSTILE)


def test_numbers_that_are_not_finite_are_not_shown(tmp_path: Path) -> None:
    bad = float("nan")
    epochs = (Epoch(1, bad, bad, float("inf"), 0.5), Epoch(2, 1.0, 0.5, 1.0, 0.5))
    history = [asdict(epoch) for epoch in epochs]
    summary = a_summary(history=history, best_epoch=2, texts_per_second=bad, macro_f1=bad)
    write_report(summary, tmp_path, figures=True)
    _, page = page_of(tmp_path)
    assert not re.search(r"\b(nan|inf)\b", page.text)
    assert not re.search(r"NaN|Infinity", (tmp_path / "report.json").read_text("utf-8"))


def test_same_summary_gives_the_same_bytes_whatever_the_settings_of_matplotlib(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in write_report(a_summary(5), tmp_path / "a", figures=True)]
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.grid": True}):
        second = [path.read_bytes() for path in write_report(a_summary(5), tmp_path / "b", figures=True)]
        assert matplotlib.rcParams["font.size"] == 30
    assert first == second


def test_matplotlib_keeps_no_figure(tmp_path: Path) -> None:
    before = "matplotlib.pyplot" in sys.modules
    write_report(a_summary(), tmp_path, figures=True)
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_an_older_report_is_replaced(tmp_path: Path) -> None:
    write_report(a_summary(seed=1), tmp_path)
    write_report(a_summary(seed=2), tmp_path)
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["seed"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match=re.escape(str(folder))) as caught:
            write_report(a_summary(), folder)
        assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "learning.svg").mkdir()
    with pytest.raises(OutputError, match=r"learning\.svg"):
        write_report(a_summary(), tmp_path, figures=True)
    assert [path.name for path in tmp_path.iterdir()] == ["learning.svg"]


def test_a_full_disk_leaves_the_old_report_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(a_summary(seed=1), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_bytes = Path.write_bytes

    def fill(path: Path, content: bytes) -> int:
        if "report.html" in path.name:
            write_bytes(path, content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(OutputError, match=r"report\.html: cannot be written \(No space left on device\)"):
        write_report(a_summary(seed=2), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`x *y* z` **bold**", "<code>x *y* z</code> **bold**"),
        ("of `a*b*c` and *two words*.", "of <code>a*b*c</code> and <em>two words</em>."),
        ("2 * 3 * 4, ag_news, <b>", "2 * 3 * 4, ag_news, &lt;b&gt;"),
        ("one ` alone, one * alone", "one ` alone, one * alone"),
    ],
)
def test_prose_marks_emphasis_and_code_and_escapes_the_rest(text: str, expected: str) -> None:
    assert prose(text) == expected
