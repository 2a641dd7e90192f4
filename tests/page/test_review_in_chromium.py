"""The review of an audit in Chromium: on the audit's own page, and as a tab of the page with a model."""

from __future__ import annotations

import csv
import io
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from audit_documents import HOSTILE, audit_document, suspicious_row
from stored_models import classifier_of
from test_page_in_chromium import CONTRASTS

from token2wave.auditing.audit_page import render_audit_page
from token2wave.serving.page import export_html

Chromium = Any  # its class can be imported only where selenium is
TAB, ENTER, ESCAPE, LEFT, UP, RIGHT, DOWN = (
    "\ue004",
    "\ue007",
    "\ue00c",
    "\ue012",
    "\ue013",
    "\ue014",
    "\ue015",
)


def _open(
    chromium: Chromium, folder: Path, document: dict[str, Any], part: str = "#review", **window: Any
) -> str:
    """Open the page of an audit with no decisions of earlier tests; return its address."""
    path = folder / "audit.html"
    path.write_text(render_audit_page(document), encoding="utf-8")
    chromium.open(path.as_uri() + part, **window)
    chromium.driver.execute_script("localStorage.clear()")
    chromium.open("about:blank", **window)
    chromium.open(path.as_uri() + part, **window)
    chromium.wait("Boolean(globalThis.token2waveReview)")
    return path.as_uri() + part


def _decisions(chromium: Chromium) -> list[list[str]]:
    """Download the decisions with the keyboard, and read them."""
    path = chromium.downloads / "decisions.csv"
    path.unlink(missing_ok=True)
    chromium.type("s")
    for _ in range(200):
        if path.exists() and path.stat().st_size:
            return list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))
        time.sleep(0.05)
    raise AssertionError("the decisions were not downloaded")


def _current(chromium: Chromium) -> int:
    number: int = chromium.driver.execute_script("return token2waveReview.row.row")
    return number


def test_fifty_rows_with_the_keyboard_alone(chromium: Chromium, tmp_path: Path) -> None:
    document = audit_document(50)
    address = _open(chromium, tmp_path, document, part="")
    chromium.type(TAB + RIGHT)  # from the first tab to the review
    assert chromium.focused() == "tab-review"
    chromium.type("j")
    assert chromium.focused() == "review-list"
    chromium.type("k")
    expected: dict[int, tuple[str, str]] = {}
    rows, labels = document["suspicious"], document["labels"]
    choose = random.Random(3)
    ways = ["1", ENTER, "2", "c", "3", "d", "digit", "typed"]
    for i, row in enumerate(rows):
        assert _current(chromium) == row["row"]
        way = ways[i] if i < len(ways) else choose.choice(ways)
        if i % 9 == 4:  # a slip, undone
            chromium.type("3u")
            assert _current(chromium) == row["row"]
        if i % 10 == 7:  # a look around
            chromium.type(UP + "k" + DOWN + "j")
        target = labels[(i * 3 + 1) % 4]
        decision = ("keep", "") if target == row["label"] else ("change", target)
        if way in ("1", ENTER):
            decision = ("keep", "")
        elif way in ("2", "c"):
            decision = ("change", row["proposed"])
        elif way in ("3", "d"):
            decision = ("drop", "")
        elif way == "digit":
            way = "4567"[labels.index(target)]
        else:
            way = "o" + target[:3].upper() + ENTER
        chromium.type(way)
        expected[row["row"]] = decision
    assert "50 of 50 rows decided" in chromium.text("review-status")
    assert chromium.text("review-note").startswith("Every row is decided")
    saved = _decisions(chromium)
    assert saved[0] == ["row", "decision", "label", "fingerprint"]
    assert saved[1:] == [[str(row["row"]), *expected[row["row"]], row["fingerprint"]] for row in rows]
    assert {decision for decision, _ in expected.values()} == {"keep", "change", "drop"}
    assert "token2wave audit news.csv --apply decisions.csv" in chromium.text("review-note")
    chromium.type("u")
    assert len(_decisions(chromium)) == 50
    assert chromium.complaints() == []
    assert chromium.requests() == [address]


def test_decisions_are_there_again_after_a_reload(chromium: Chromium, tmp_path: Path) -> None:
    document = audit_document(5)
    address = _open(chromium, tmp_path, document)
    rows = [row["row"] for row in document["suspicious"]]
    chromium.type("j")
    assert _current(chromium) == rows[0]
    chromium.type("j1")  # the first row is skipped
    assert _current(chromium) == rows[2]
    chromium.type("kk2")
    assert _current(chromium) == rows[2]
    chromium.driver.refresh()
    chromium.wait("document.getElementById('review-status').textContent.startsWith('2 of 5')")
    assert chromium.text("review-note") == "Your decisions of last time are here again."
    assert _current(chromium) == rows[2]
    document["suspicious"][0]["fingerprint"] = "00000000"  # the data have changed
    (tmp_path / "audit.html").write_text(render_audit_page(document), encoding="utf-8")
    chromium.open("about:blank")
    chromium.open(address)
    chromium.wait("document.getElementById('review-status').textContent.startsWith('0 of 5')")


def test_a_browser_without_storage_warns_before_decisions_are_lost(
    chromium: Chromium, tmp_path: Path
) -> None:
    _open(chromium, tmp_path, audit_document(3))
    chromium.driver.execute_script("Storage.prototype.setItem = () => { throw new Error('refused'); }")
    chromium.type("jk1")
    assert "1 of 3" in chromium.text("review-status")
    leaves = "return dispatchEvent(new Event('beforeunload', { cancelable: true }))"
    assert chromium.driver.execute_script(leaves) is False
    assert len(_decisions(chromium)) == 2
    assert chromium.driver.execute_script(leaves) is True


def test_filters_show_a_pair_of_labels_and_what_is_undecided(chromium: Chromium, tmp_path: Path) -> None:
    document = audit_document(20)
    _open(chromium, tmp_path, document, part="")
    pairs = [f"{row['label']} → {row['proposed']}" for row in document["suspicious"]]
    button = chromium.driver.find_element("css selector", "[data-pair]")
    pair = button.get_attribute("data-pair")
    button.click()
    n_rows = pairs.count(pair)
    assert n_rows < 20
    assert chromium.text("review-place").startswith(f"1 of {n_rows}")
    assert chromium.focused() == "review-list"
    chromium.find("review-show").send_keys("undecided")
    chromium.driver.execute_script("document.getElementById('review-list').focus()")
    for n_left in range(n_rows, 0, -1):
        assert chromium.text("review-place").startswith(f"1 of {n_left}")
        chromium.type("1")
    assert chromium.text("review-empty") == "No row passes the filters."
    chromium.type("1")  # there is no row to decide about
    chromium.type("u")
    assert f"{n_rows - 1} of 20" in chromium.text("review-status")
    assert chromium.text("review-place").startswith("1 of 1 ")


def test_keys_do_nothing_where_people_type_or_press_buttons(chromium: Chromium, tmp_path: Path) -> None:
    _open(chromium, tmp_path, audit_document(5))
    chromium.type("12cd")  # the focus is outside of the review
    assert "0 of 5" in chromium.text("review-status")
    chromium.find("review-next").send_keys(ENTER)  # presses the button, and keeps nothing
    assert chromium.text("review-place").startswith("2 of 5")
    assert "0 of 5" in chromium.text("review-status")
    chromium.type("?")
    assert chromium.find("review-keys").is_displayed()
    chromium.type("1")
    chromium.type(ESCAPE)
    assert not chromium.find("review-keys").is_displayed()
    chromium.find("review-pair").send_keys("1d")
    assert "0 of 5" in chromium.text("review-status")
    order = []
    chromium.driver.execute_script("document.getElementById('review-list').focus()")
    for _ in range(12):
        chromium.type(TAB)
        order.append(chromium.focused())
    assert order[:8] == [
        *("review-previous", "review-next", "review-text", "review-keep", "review-change", "review-drop"),
        *("review-other", "sport4"),
    ]
    assert "review-list" not in order  # the focus leaves: no trap


def test_a_screen_reader_hears_each_row(chromium: Chromium, tmp_path: Path) -> None:
    document = audit_document(5)
    _open(chromium, tmp_path, document)
    chromium.type("jk")
    active = (
        "const id = document.activeElement.getAttribute('aria-activedescendant');"
        "return document.getElementById(id).innerText"
    )
    first, second = document["suspicious"][:2]
    assert first["text"][:40] in chromium.driver.execute_script(active)
    chromium.type("2")
    assert chromium.find("review-live").get_attribute("textContent") == (
        f"Row {first['row']} changed to {first['proposed']}. "
    )
    assert second["text"][:40] in chromium.driver.execute_script(active)
    chromium.find("review-keep").click()  # the focus is not in the list: the region says the row, too
    spoken = chromium.find("review-live").get_attribute("textContent")
    third = document["suspicious"][2]
    assert spoken.startswith(f"Row {second['row']} kept. Row {third['row']}: {third['label']}, proposed")
    assert third["text"] in spoken
    unnamed = chromium.driver.execute_script(
        "const kinds = 'input, select, button, dialog, progress, [role=listbox], [role=region]';"
        "return Array.from(document.querySelectorAll(kinds))"
        ".filter(e => !(e.labels?.length || e.textContent.trim() || e.getAttribute('aria-label')"
        " || e.getAttribute('aria-labelledby'))).map(e => e.outerHTML)"
    )
    assert unnamed == []
    doubled = (
        "const ids = Array.from(document.querySelectorAll('[id]'), e => e.id);"
        "const named = Array.from(document.querySelectorAll('[aria-labelledby], [aria-controls]'),"
        " e => e.getAttribute('aria-labelledby') ?? e.getAttribute('aria-controls'));"
        "return [ids.filter((id, i) => ids.indexOf(id) !== i), named.filter(id => !ids.includes(id))]"
    )
    assert chromium.driver.execute_script(doubled) == [[], []]


def test_rows_of_several_labels(chromium: Chromium, tmp_path: Path) -> None:
    rows = [suspicious_row(i, f"text {i}", ["a", "b"], ["a"], lang="en") for i in range(1, 4)]
    document = audit_document(labels=["a", "b", "c,d"], multi_label=True, suspicious=rows)
    _open(chromium, tmp_path, document)
    chromium.type("jk2")
    chromium.type("o" + "b" + ENTER + "c" + ENTER + ENTER)  # a is proposed; b and c join it
    chromium.type("o" + "b" + ENTER + ENTER)  # the given labels: keep
    assert [line[1:3] for line in _decisions(chromium)[1:]] == [
        ["change", '["a"]'],
        ["change", '["a","b","c,d"]'],
        ["keep", ""],
    ]


def test_a_thousand_rows_are_quick_and_a_phone_stays_at_the_row(chromium: Chromium, tmp_path: Path) -> None:
    text = "the card was not accepted at the shop abroad " * 40
    rows = [suspicious_row(i, f"{text} {i}", "sport", "world") for i in range(1, 1_001)]
    _open(chromium, tmp_path, audit_document(suspicious=rows), width=390, height=800)
    chromium.find("review-list").send_keys("1")
    seconds = chromium.evaluate(
        "const start = performance.now();"
        "for (let i = 0; i < 20; i++) { token2waveReview.decide('drop'); document.body.offsetHeight; }"
        "return (performance.now() - start) / 1000"
    )
    assert seconds < 6  # it took 15 while each decision laid out the list
    assert _current(chromium) == 22
    chromium.find("review-drop").click()
    top = "return document.getElementById('review-row').getBoundingClientRect().top"
    assert 0 <= chromium.driver.execute_script(top) < 100


def test_hostile_texts_labels_and_fields_stay_text(chromium: Chromium, tmp_path: Path) -> None:
    labels = [HOSTILE, "=1+1", "", 'a "quoted", label']
    rows = [
        suspicious_row(1, HOSTILE, labels[0], labels[1], **{HOSTILE: HOSTILE}),
        suspicious_row(2, "\ud800 lone", labels[2], labels[3]),
        {**suspicious_row(3, "", labels[3], labels[0]), "words": None, "fields": None, "probability": None},
    ]
    finding = {
        **dict.fromkeys(("name", "title", "severity", "hint"), HOSTILE),
        "count": 1,
        "rows": [1],
        "examples": [{"row": 1, "text": HOSTILE, "label": HOSTILE}],
    }
    document = audit_document(
        labels=labels, suspicious=rows, findings=[finding], notes=[HOSTILE], data=HOSTILE
    )
    document["learning_curve"]["classes"][0]["label"] = HOSTILE
    _open(chromium, tmp_path, document)
    chromium.type("jk22")
    chromium.type("o" + "quoted" + ENTER)
    assert [line[1:3] for line in _decisions(chromium)[1:]] == [
        ["change", "=1+1"],
        ["change", 'a "quoted", label'],
        ["keep", ""],
    ]
    assert chromium.driver.execute_script("return document.images.length") == 0
    assert "news" not in chromium.text("review-note")
    assert "audit DATA --apply" in chromium.text("review-note")
    assert chromium.complaints() == []


def test_the_tab_of_the_page_with_a_model_opens_an_audit(chromium: Chromium, tmp_path: Path) -> None:
    path = tmp_path / "films.html"
    export_html(classifier_of("linear_svm"), path)
    document = audit_document(5)
    (tmp_path / "audit.json").write_text(json.dumps(document), encoding="utf-8")
    chromium.open(path.as_uri())
    chromium.wait("Boolean(globalThis.token2wavePage)")
    chromium.driver.execute_script("localStorage.clear()")
    chromium.find("tab-text").send_keys(LEFT)  # around to the last tab
    assert chromium.focused() == "tab-review"
    chromium.shoot("review-open")
    chromium.find("review-file").send_keys(str(tmp_path / "audit.json"))
    chromium.wait("document.getElementById('review-place').textContent.startsWith('1 of 5')")
    assert chromium.focused() == "review-list"
    chromium.type("123")
    assert [line[1] for line in _decisions(chromium)[1:]] == ["keep", "change", "drop"]
    chromium.click("tab-text")
    chromium.click("text")
    chromium.type("1 d 3 u a good film")
    assert "3 of 5" in chromium.find("review-status").get_attribute("textContent")
    chromium.click("tab-review")
    drop = (
        "const data = new DataTransfer(); data.items.add(new File([a[0]], 'dropped.json'));"
        "const event = { dataTransfer: data, bubbles: true, cancelable: true };"
        "document.body.dispatchEvent(new DragEvent('drop', event));"
    )
    chromium.evaluate(drop, json.dumps(audit_document(7)))
    chromium.wait("document.getElementById('review-place').textContent.startsWith('1 of 7')")
    assert chromium.complaints() == []
    assert chromium.requests() == [path.as_uri()]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("row,label\n1,a\n", "is not an audit; open the audit.json that token2wave audit writes"),
        ("null", "is not an audit"),
        (json.dumps({"format": "other"}), "is not an audit"),
        (json.dumps(audit_document(1, version=2)), "has version 2, and this page reads version 1"),
        (json.dumps(audit_document(1, labels="a")), "has no list of labels"),
        (json.dumps(audit_document(1, suspicious=None)), "has no list of suspicious rows"),
        (json.dumps(audit_document(1, suspicious=[None])), "is damaged: suspicious row 1 needs row, text"),
        (json.dumps(audit_document(1, multi_label=True)), "is damaged: suspicious row 1 needs"),
    ],
)
def test_a_file_that_is_no_audit_is_refused(
    chromium: Chromium, tmp_path: Path, content: str, problem: str
) -> None:
    path = tmp_path / "films.html"
    export_html(classifier_of("linear_svm"), path)
    (tmp_path / "file.json").write_text(content, encoding="utf-8")
    chromium.open(path.as_uri())
    chromium.wait("Boolean(globalThis.token2wavePage)")
    chromium.click("tab-review")
    chromium.find("review-file").send_keys(str(tmp_path / "file.json"))
    chromium.wait("!document.getElementById('review-problem').hidden")
    assert chromium.text("review-problem").startswith(f"file.json {problem}")
    assert not chromium.find("review-body").is_displayed()
    assert chromium.complaints() == []


@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [("light", 1280, False), ("dark", 1280, True), ("phone", 390, False), ("phone-dark", 390, True)],
)
def test_layout_and_contrast(chromium: Chromium, tmp_path: Path, name: str, width: int, dark: bool) -> None:
    _open(chromium, tmp_path, audit_document(50), part="", width=width, dark=dark)
    for details in chromium.driver.find_elements("css selector", "summary"):
        details.click()
    for part in ("found", "review"):
        chromium.click(f"tab-{part}")
        if part == "review":
            chromium.type("jk123j")
        assert chromium.driver.execute_script("return document.documentElement.scrollWidth") <= width
        assert chromium.driver.execute_script(CONTRASTS) == []
        chromium.shoot(f"audit-{part}-{name}")
    if width < 600:
        small = (
            "return Array.from(document.querySelectorAll('.decisions button'))"
            ".filter(e => e.getBoundingClientRect().height < 44).map(e => e.id)"
        )
        assert chromium.driver.execute_script(small) == []
    chromium.find("review-other").click()
    chromium.shoot(f"audit-picker-{name}")
    assert chromium.driver.execute_script(CONTRASTS.replace("main *, header *", "dialog *")) == []
    assert chromium.complaints() == []


def test_the_page_reads_without_a_script_and_prints(chromium: Chromium, tmp_path: Path) -> None:
    page = render_audit_page(audit_document(0, findings=[]))
    assert "Nothing was found." in page
    assert "No label looks wrong." in page
    page = render_audit_page(audit_document(3))
    assert "default-src &#x27;none&#x27;" in page
    assert "unsafe" not in page
    examples = [{"row": 3, "split": "test", "text": 'a "b" & c', "label": ["d", "e"], "detail": "<f>"}]
    finding = {**audit_document()["findings"][0], "examples": examples}
    cells = render_audit_page(audit_document(0, findings=[finding]))
    assert '<th scope="row" class="name">3 (test)</th>' in cells
    assert "<bdi>a &quot;b&quot; &amp; c</bdi>" in cells
    assert "&lt;f&gt;</small>" in cells
    assert ">d, e</td>" in cells
    assert "Rows: 3 = 88; 5 = 9; 41" in page
