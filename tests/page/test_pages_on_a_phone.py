"""The report and the explanation at the width of a phone: no key column is cut."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored_models import classifier_of

sys.path.append(str(Path(__file__).parents[1] / "reporting"))
from report_data import a_summary

from token2wave.explanation import explanation_page
from token2wave.reporting.report import write_report

Chromium = Any
PHONE, DESKTOP = 390, 1440
LABELS = tuple(f"balance_not_updated_after_{word}_deposit" for word in ("cheque", "cash", "bank"))
CUT = """
const isMatrix = (region) => region.querySelector(".matrix");
return Array.from(document.querySelectorAll(".scroll"))
  .filter((region) => !isMatrix(region) && region.scrollWidth > region.clientWidth)
  .map((region) => `${region.getAttribute("aria-label")}: ${region.scrollWidth} > ${region.clientWidth}`);
"""


def test_the_report(chromium: Chromium, tmp_path: Path) -> None:
    write_report(a_summary(label_names=LABELS), tmp_path)
    address = (tmp_path / "report.html").as_uri()
    chromium.open(address, width=PHONE)
    assert chromium.driver.execute_script("return document.documentElement.scrollWidth") <= PHONE
    assert chromium.driver.execute_script(CUT) == []
    places = chromium.driver.execute_script(
        "return ['table:not(.matrix)', '.matrix'].map((name) => document.querySelector("
        "`[aria-labelledby=confusions] ${name}`).getBoundingClientRect().top)"
    )
    assert places == sorted(places)  # the list, which a phone shows whole, comes first
    chromium.open(address, width=DESKTOP)
    width = chromium.driver.execute_script(
        "return document.querySelector('main').getBoundingClientRect().width"
    )
    assert width > 0.97 * DESKTOP
    assert chromium.driver.execute_script(CUT) == []
    assert chromium.complaints() == []


@pytest.mark.parametrize("width", [320, PHONE])
def test_the_explanation(chromium: Chromium, tmp_path: Path, width: int) -> None:
    classifier = replace(classifier_of("linear_svm"), label_names=LABELS)
    explanation = classifier.explain("a good film, don't you think? zebra!")
    (tmp_path / "why.html").write_text(explanation_page([explanation], "Why"), encoding="utf-8")
    chromium.open((tmp_path / "why.html").as_uri(), width=width)
    assert chromium.driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert chromium.driver.execute_script(CUT) == []
    columns = chromium.driver.execute_script(
        "return Array.from(document.querySelectorAll('thead > tr > *'))"
        ".filter((cell) => cell.checkVisibility()).map((cell) => cell.textContent)"
    )
    assert columns == ["word", explanation.label, "", "energy"]
    chromium.driver.find_elements("css selector", ".classes input")[1].click()
    assert chromium.driver.execute_script(CUT) == []
    head = chromium.driver.find_elements("css selector", "thead th.ranked")
    assert [cell.text.replace("\n", "") for cell in head] == [LABELS[explanation.ranking()[1]]]
    assert chromium.complaints() == []
