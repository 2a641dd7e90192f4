"""The exported HTML file in Chromium."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_golden import USUAL
from page_texts import HOSTILE, random_texts
from stored_models import classifier_of

from token2wave.classifier import Classifier
from token2wave.explanation import Explanation
from token2wave.inference.compiled import compile_network
from token2wave.serving.page import export_html

Chromium = Any  # its class can be imported only where selenium is
SEED = 7
TEXT = "a good film, don't you think? zebra!"
EXAMPLES = ["a good film!", "<img src=x onerror=alert(1)> bad films"]
TAB, ENTER, LEFT, RIGHT = "\ue004", "\ue007", "\ue012", "\ue014"  # WebDriver's names of keys
READY = "Boolean(globalThis.token2wavePage?.answer)"
Made = Callable[..., str]


def model(kind: str = "linear_svm", storage: str = "lzma") -> Classifier:
    return replace(classifier_of(kind, storage), novelty_reference=USUAL)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A function that exports a page and returns its address."""
    folder = tmp_path_factory.mktemp("pages")

    def address(classifier: Classifier, examples: list[str] = EXAMPLES) -> str:
        path = folder / f"{len(list(folder.iterdir()))}.html"
        export_html(classifier, path, title="Films & <b>more</b>", examples=examples)
        return path.as_uri()

    return address


@pytest.fixture(scope="session")
def address(made: Made) -> str:
    return made(model())


@pytest.fixture
def page(chromium: Chromium, address: str) -> Chromium:
    chromium.open(address)
    chromium.wait(READY)
    return chromium


@pytest.mark.parametrize("kind", ["fast", "linear_svm", "several"])
def test_a_thousand_predictions_equal_those_of_python(chromium: Chromium, made: Made, kind: str) -> None:
    classifier = model(kind)
    texts = random_texts(1_000, SEED)
    chromium.open(made(classifier))
    chromium.wait(READY)
    predictions = chromium.evaluate(
        "const answers = await token2wavePage.source.predict(JSON.parse(a[0]));"
        "return answers.map(({ probabilities, novelty }) => [Array.from(probabilities), novelty]);",
        json.dumps(texts),  # WebDriver takes no lone surrogates
    )
    expected = classifier.probabilities(texts)
    np.testing.assert_allclose(
        [probabilities for probabilities, _ in predictions], expected, rtol=0, atol=1e-5
    )
    novelty = classifier.novelty(texts)
    assert novelty is not None
    np.testing.assert_allclose([own_novelty for _, own_novelty in predictions], novelty, rtol=0, atol=1e-5)
    assert chromium.complaints() == []


def test_nothing_is_answered_before_something_is_typed(page: Chromium) -> None:
    result = page.driver.find_element("css selector", ".result")
    for _ in range(2):
        page.wait("document.getElementById('verdict').textContent === 'Nothing typed yet'")
        assert "%" not in result.text
        assert page.driver.find_elements("css selector", "#bars li") == []
        for name in ("find-class", "more-classes", "novelty", "nothing-known", "words"):
            assert not page.find(name).is_displayed()
        page.click("text")
        page.type("a good film")
        page.wait("document.querySelectorAll('#bars li').length === 3")
        assert "%" in page.text("bars")
        page.click("clear")


def test_the_text_box_fits_its_content(page: Chromium) -> None:
    heights = []
    for text in ("", "a good film " * 60, "a"):
        page.click("clear")
        page.click("text")
        page.paste(text)
        box = "document.getElementById('text')"
        heights.append(page.driver.execute_script(f"return {box}.getBoundingClientRect().height"))
        assert page.driver.execute_script(f"return {box}.scrollHeight - {box}.clientHeight") <= 0
    assert heights[0] == heights[2] < 120
    assert heights[1] > 150


def test_the_strongest_words_come_first(page: Chromium) -> None:
    page.click("text")
    page.type(TEXT)
    page.wait("document.querySelectorAll('#reading span').length === 10")
    explained = model().explain(TEXT)
    rows = page.driver.execute_script(
        "return Array.from(document.querySelectorAll('#strongest tr'), (row) => [row.cells[0].textContent,"
        " row.cells[2].textContent])"
    )
    strongest = explained.strongest(n=len(rows))
    assert [word for word, _ in rows] == [TEXT[part.start : part.end] for part in strongest]
    effects = [abs(float(points.replace("−", "-"))) for _, points in rows]
    assert effects == sorted(effects, reverse=True)
    for name in ("strongest", "reading"):
        assert page.find(name).is_displayed()
    both = page.find("strongest"), page.find("reading")
    order = page.driver.execute_script("return arguments[0].compareDocumentPosition(arguments[1])", *both)
    assert order == 4  # the text follows


def test_typing_updates_the_classes_and_the_words(page: Chromium) -> None:
    assert page.text("verdict") == "Nothing typed yet"
    assert not page.find("words").is_displayed()
    page.click("text")
    page.type(TEXT)
    classifier = model()
    prediction = classifier.predict(TEXT)
    page.wait("document.querySelectorAll('#reading span').length === 10")
    assert page.text("verdict").split("\n")[0].startswith(prediction.label)
    assert f"{100 * prediction.probability:.1f}%" in page.text("verdict")
    bars = page.text("bars")
    for label, probability in prediction.top + classifier.predict(TEXT, top_k=3).top:
        assert label in bars
        assert f"{100 * probability:.1f}%" in bars
    spans = page.driver.execute_script(
        "return Array.from(document.querySelectorAll('#reading span'), s => [s.textContent, s.className])"
    )
    explained = classifier.explain(TEXT)
    assert [text for text, _ in spans] == [TEXT[part.start : part.end] for part in explained.parts]
    for (_, style), part in zip(spans, explained.parts, strict=True):
        effect = part.effects[explained.predicted]
        assert ("for" in style.split()) == (effect > 1e-6)
        assert ("against" in style.split()) == (effect < -1e-6)
        assert ("unknown" in style.split()) == (not part.known)
    strongest = explained.strongest(n=1)[0]
    assert page.text("strongest").startswith(TEXT[strongest.start : strongest.end])
    page.type(" bad bad bad bad")
    page.wait("document.querySelectorAll('#reading span').length === 14")
    assert page.text("verdict").startswith(classifier.predict(f"{TEXT} bad bad bad bad").label)
    assert page.complaints() == []


def test_no_request_leaves(page: Chromium, address: str) -> None:
    page.click("text")
    page.type(TEXT)
    page.click("tab-list")
    page.click("list")
    page.paste("a\nb")
    page.wait("document.querySelectorAll('#table tbody tr').length === 2")
    assert page.complaints() == []
    assert page.requests() == [address]
    policy = page.evaluate(
        "const broken = [];"
        "document.addEventListener("
        "'securitypolicyviolation', (event) => broken.push(event.violatedDirective));"
        "try { await fetch('https://example.com/'); } catch {}"
        "new Image().src = 'https://example.com/a.png';"
        "const script = document.createElement('script'); script.textContent = 'globalThis.broken = 1';"
        "document.body.append(script);"
        "await new Promise((resolve) => setTimeout(resolve, 200));"
        "return [broken.sort(), globalThis.broken ?? null];"
    )
    assert policy == [["connect-src", "img-src", "script-src-elem"], None]
    assert page.requests() == []


def test_a_pasted_list_becomes_a_table_and_a_file(page: Chromium) -> None:
    texts = ["a good film", "=1+1, bad", '"good", bad!', "\u202egood bad", "<b>a</b>", "zebra"]
    page.click("tab-list")
    page.click("list")
    page.paste("\n".join(["", *texts, "  "]))
    page.wait("document.querySelectorAll('#table tbody tr').length === 6")
    classifier = model()
    predictions = classifier.predict_batch(texts, novelty=True)
    rows = page.driver.execute_script(
        "return Array.from(document.querySelectorAll('#table tbody tr'),"
        " row => Array.from(row.cells, cell => cell.textContent))"
    )
    for number, (row, text, prediction) in enumerate(zip(rows, texts, predictions, strict=True), start=1):
        assert prediction.novelty is not None
        label = prediction.label + ("" if prediction.known else " (nothing known)")
        assert row[:4] == [str(number), text, label, f"{100 * prediction.probability:.1f}%"]
    page.click("download")
    saved = _downloaded(page, "labels.csv")
    lines = list(csv.reader(io.StringIO(saved, newline="")))
    assert lines[0] == ["text", "label", "probability", "known", "novelty"]
    assert [line[:2] for line in lines[1:]] == [
        ["'=1+1, bad" if text.startswith("=") else text, prediction.label]
        for text, prediction in zip(texts, predictions, strict=True)
    ]
    assert [line[3] for line in lines[1:]] == [str(each.known).lower() for each in predictions]
    assert not predictions[-1].known
    probabilities = [float(line[2]) for line in lines[1:]]
    np.testing.assert_allclose(
        probabilities, [prediction.probability for prediction in predictions], atol=1e-5
    )
    page.shoot("list")
    assert page.complaints() == []


def test_abstaining_below_a_probability(page: Chromium) -> None:
    texts = ["a good film", "zebra", "bad"]
    predictions = model().predict_batch(texts)
    page.click("tab-list")
    page.click("list")
    page.paste("\n".join(texts))
    page.wait("document.querySelectorAll('#table tbody tr').length === 3")
    probabilities = [prediction.probability for prediction in predictions]
    threshold = sorted(probabilities)[1]  # some are below, and some are not
    page.driver.execute_script(
        "const input = document.getElementById('below'); input.value = arguments[0];"
        "input.dispatchEvent(new Event('input'))",
        100 * threshold + 0.01,
    )
    labels = page.driver.execute_script(
        "return Array.from(document.querySelectorAll('#table tbody tr'), row => row.cells[2].textContent)"
    )
    assert labels == [
        each.label if each.known and each.probability > threshold + 1e-4 else "no label" + mark
        for each, mark in zip(predictions, ["", " (nothing known)", ""], strict=True)
    ]
    assert f"{sum('no label' in label for label in labels)} without a label" in page.text("list-status")


def test_a_text_of_which_nothing_is_known(page: Chromium) -> None:
    assert not page.find("nothing-known").is_displayed()
    page.click("text")
    page.paste("zebra")
    page.wait("!document.getElementById('nothing-known').hidden")
    assert page.text("nothing-known").startswith("The model knows nothing of this text")
    page.paste(" film")
    page.wait("document.getElementById('nothing-known').hidden")


def test_a_row_opens_in_full(page: Chromium) -> None:
    page.click("tab-list")
    page.click("list")
    page.paste("bad films\na good film")
    page.wait("document.querySelectorAll('#table tbody tr').length === 2")
    page.driver.find_elements("css selector", "#table .line")[1].click()
    assert page.find("text").get_attribute("value") == "a good film"
    page.wait("document.querySelectorAll('#reading span').length === 3")


def test_keys_alone_reach_everything(page: Chromium) -> None:
    order = []
    for _ in range(12):
        page.type(TAB)
        order.append(page.focused())
    assert order[:5] == ["tab-text", "clear", "text", *EXAMPLES]
    assert any("neg" in name for name in order[5:])  # the classes are buttons
    page.driver.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    page.find("text").send_keys("")
    page.type(TAB + ENTER)  # the first example
    page.wait("document.querySelectorAll('#reading span').length === 4")
    assert page.find("text").get_attribute("value") == EXAMPLES[0]
    page.find("reading").send_keys(RIGHT + RIGHT)
    assert page.text("detail").startswith("good: ")
    page.find("tab-text").send_keys(RIGHT)
    assert page.focused() == "tab-list"
    page.type(TAB + TAB)
    page.find("list").send_keys("a good film" + ENTER + "bad")
    page.wait("document.querySelectorAll('#table tbody tr').length === 2")
    page.find("tab-list").send_keys(LEFT)
    assert page.focused() == "tab-text"
    assert page.complaints() == []


def test_a_screen_reader_reads_the_prediction_when_typing_pauses(page: Chromium) -> None:
    page.click("text")
    page.type("a good film")
    prediction = model().predict("a good film")
    page.wait(f"document.getElementById('live').textContent.startsWith({prediction.label!r})")
    unnamed = page.driver.execute_script(
        "const kinds = 'input, textarea, button, [role=region], [role=listbox]';"
        "return Array.from(document.querySelectorAll(kinds))"
        ".filter(e => !(e.labels?.length || e.textContent.trim() || e.getAttribute('aria-label')"
        " || e.getAttribute('aria-labelledby'))).map(e => e.outerHTML)"
    )
    assert unnamed == []


@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [("light", 1280, False), ("dark", 1280, True), ("narrow", 320, False), ("narrow-dark", 320, True)],
)
def test_layout_and_contrast(chromium: Chromium, address: str, name: str, width: int, dark: bool) -> None:
    chromium.open(address, width=width, dark=dark)
    chromium.wait(READY)
    chromium.click("text")
    chromium.type(TEXT)
    chromium.wait("document.querySelectorAll('#reading span').length === 10")
    for tab in ("tab-list", "tab-text"):
        chromium.click(tab)
        assert chromium.driver.execute_script("return document.documentElement.scrollWidth") <= width
    ground = chromium.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, ground.removeprefix("rgb(").removesuffix(")").split(","))) > 3 * 127
    assert light != dark
    assert chromium.driver.execute_script(CONTRASTS) == []
    chromium.shoot(name)
    assert chromium.complaints() == []


def test_detail_of_a_word_that_changes_the_prediction(page: Chromium) -> None:
    classifier = model()
    words = ["a", "b", "good", "bad", "film", "films", "don't", "3.5", "!", "."]
    pairs = [f"{word} {next_word}" for word in words for next_word in words]
    explained = next(
        each for each in map(classifier.explain, pairs) if _without(each, 0) not in ("", each.label)
    )
    page.click("text")
    page.paste(explained.text)
    page.wait("document.querySelectorAll('#reading span').length === 2")
    page.driver.find_element("css selector", "#reading span").click()
    assert f"Without it, the most probable class is {_without(explained, 0)}" in page.text("detail")


def _without(explained: Explanation, i: int) -> str:
    """The most probable class without a part."""
    probabilities = np.array(explained.probabilities) - explained.parts[i].effects
    return explained.label_names[int(probabilities.argmax())]


def test_reduced_motion(page: Chromium) -> None:
    page.click("text")
    page.type("a good film")
    page.wait("document.querySelector('.fill')")
    moves = "return getComputedStyle(document.querySelector('.fill')).transitionDuration"
    assert page.driver.execute_script(moves) == "0s"
    page.prefer(motion="no-preference")
    assert page.driver.execute_script(moves) != "0s"


CONTRASTS = """
function channels(colour) {
  return colour.match(/[\\d.]+/g).map(Number);
}
function over(top, ground) {
  const share = top.length > 3 ? top[3] : 1;
  return [0, 1, 2].map((i) => top[i] * share + ground[i] * (1 - share));
}
function ground(element) {
  if (!element) return [255, 255, 255];
  return over(channels(getComputedStyle(element).backgroundColor), ground(element.parentElement));
}
function luminance(colour) {
  const [r, g, b] = colour.map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const poor = [];
for (const element of document.querySelectorAll("main *, header *")) {
  const ownText = Array.from(element.childNodes).some((n) => n.nodeType === 3 && n.data.trim());
  if (!ownText || !element.checkVisibility() || element.closest("svg, .hidden, :disabled")) continue;
  const below = ground(element);
  const [a, b] = [luminance(over(channels(getComputedStyle(element).color), below)), luminance(below)];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) poor.push([element.outerHTML.slice(0, 80), contrast]);
}
return poor;
"""


def test_hostile_texts_do_not_break_it(page: Chromium) -> None:
    for text in HOSTILE:
        page.driver.execute_script(
            "const input = document.getElementById('text'); input.value = JSON.parse(arguments[0]);"
            "input.dispatchEvent(new Event('input'))",
            json.dumps(text),
        )
        page.wait(f"token2wavePage.text === document.getElementById('text').value && {READY}")
    assert (
        page.driver.execute_script("return document.querySelectorAll('#reading b, #reading script').length")
        == 0
    )
    assert page.complaints() == []


def test_a_text_of_100_kilobytes(page: Chromium) -> None:
    text = "a good film and a zebra, " * 4_000
    page.click("text")
    page.paste(text)
    page.wait("document.getElementById('reading-lead').textContent.startsWith('Texts of more than 10,000')")
    assert page.text("verdict").startswith(model().predict(text).label)
    page.type(" bad")
    page.click("clear")
    page.wait("document.getElementById('verdict').textContent === 'Nothing typed yet'")
    assert page.complaints() == []


def test_multi_label_model(chromium: Chromium, made: Made) -> None:
    classifier = model("several")
    chromium.open(made(classifier))
    chromium.wait(READY)
    for text in ["good film", "bad", "a b a b"]:
        chromium.find("text").clear()
        chromium.click("text")
        chromium.paste(text)
        labels = ", ".join(classifier.predict(text).labels) or "none of the labels"
        chromium.wait(f"document.getElementById('verdict').textContent === {labels!r}")
    assert not chromium.find("below-option").is_displayed()


def test_hostile_labels_and_many(chromium: Chromium, made: Made) -> None:
    labels = [
        "</script><img src=x onerror=alert(1)>",
        "",
        "\u202e gnitteg",
        "\ud800",
        "$title ${data}",
        "x" * 300,
    ]
    labels += [f"class {i}" for i in range(200)]
    config = classifier_of("fast").network.config.replace(n_classes=len(labels))
    arrays = {
        name: np.random.default_rng(0).normal(0, 0.5, shape).astype(np.float32)
        for name, shape in config.parameter_shapes().items()
    }
    classifier = Classifier(classifier_of("fast").features, compile_network(config, arrays), tuple(labels))
    chromium.open(made(classifier, []))
    chromium.wait(READY)
    chromium.click("text")
    chromium.paste("a good film")
    chromium.wait("document.querySelectorAll('#reading span').length === 3")
    assert len(chromium.driver.find_elements("css selector", "#bars li")) == 8
    assert not chromium.find("novelty").is_displayed()
    assert not chromium.find("examples").is_displayed()
    chromium.click("more-classes")
    assert len(chromium.driver.find_elements("css selector", "#bars li")) == len(labels)
    assert chromium.driver.execute_script("return document.images.length") == 0
    assert chromium.complaints() == []


def test_two_hundred_classes_can_be_found(chromium: Chromium, made: Made) -> None:
    labels = [f"balance_not_updated_after_the_{i}th_cheque_or_cash_deposit" for i in range(200)]
    config = classifier_of("fast").network.config.replace(n_classes=len(labels))
    arrays = {
        name: np.random.default_rng(0).normal(0, 0.5, shape).astype(np.float32)
        for name, shape in config.parameter_shapes().items()
    }
    classifier = Classifier(classifier_of("fast").features, compile_network(config, arrays), tuple(labels))
    chromium.open(made(classifier, []), width=390)
    chromium.wait(READY)
    chromium.click("text")
    chromium.paste("a good film")
    chromium.wait("document.querySelectorAll('#bars li').length === 8")
    names = "return Array.from(document.querySelectorAll('#bars .name'), (name) => name.textContent)"
    chromium.click("class-filter")
    chromium.paste("Cash 17TH")
    probabilities = classifier.probabilities(["a good film"])[0]
    expected = [label for label in labels if "17th" in label]
    expected.sort(key=lambda label: -probabilities[labels.index(label)])
    assert chromium.driver.execute_script(names) == expected
    broken = (
        "return Array.from(document.querySelectorAll('#bars bdi'), (bdi) => Array.from(bdi.childNodes)"
        ".filter((node) => node.nodeType === 3).map((node) => { const range = document.createRange();"
        " range.selectNodeContents(node); return range.getClientRects().length; })).flat()"
    )
    lines = chromium.driver.execute_script(broken)
    assert len(lines) > 8
    assert set(lines) == {1}  # no word stands on two lines
    height = chromium.driver.execute_script("return document.querySelector('#bars .name').offsetHeight")
    assert height > 40  # though the name does
    chromium.paste(" nothing")
    assert chromium.text("no-class") == "No class has these words in its name."
    chromium.click("more-classes")
    assert chromium.find("class-filter").get_attribute("value") == ""
    assert len(chromium.driver.execute_script(names)) == 200
    assert chromium.driver.execute_script("return document.getElementById('bars').offsetHeight") < 500
    assert chromium.driver.execute_script("return document.documentElement.scrollWidth") <= 390
    chromium.click("more-classes")
    assert len(chromium.driver.execute_script(names)) == 8
    assert chromium.complaints() == []


def test_selecting_a_class(page: Chromium) -> None:
    page.click("text")
    page.type("a good bad film")
    page.wait("document.querySelectorAll('#reading span').length === 4")
    classifier = model()
    explained = classifier.explain("a good bad film")
    for label, button in enumerate(page.driver.find_elements("css selector", "#bars button")):
        if label == explained.predicted:
            continue
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        styles = page.driver.execute_script(
            "return Array.from(document.querySelectorAll('#reading span'), s => s.classList[0])"
        )
        assert styles == ["for" if part.effects[label] > 0 else "against" for part in explained.parts]


def test_the_model_file_can_be_saved(page: Chromium, tmp_path: Path) -> None:
    page.driver.find_element("css selector", "summary").click()
    page.click("model-file")
    _downloaded(page, "model.safetensors")
    model().save(tmp_path / "same")
    assert (page.downloads / "model.safetensors").read_bytes() == (tmp_path / "same").read_bytes()


def _downloaded(page: Chromium, name: str) -> str:
    """Wait for a downloaded file, and return its text."""
    path = page.downloads / name
    for _ in range(200):
        if path.exists() and path.stat().st_size:
            return path.read_bytes().decode("utf-8", "replace")
        time.sleep(0.05)
    raise AssertionError(f"{name} was not downloaded")


def _open_file(page: Chromium, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    page.driver.execute_script("document.getElementById('tab-list').click()")
    page.find("file").send_keys(str(path))


def _saved_rows(page: Chromium) -> list[list[str]]:
    (page.downloads / "labels.csv").unlink(missing_ok=True)
    page.click("download")
    return list(csv.reader(io.StringIO(_downloaded(page, "labels.csv"), newline="")))


FINISHED = "document.getElementById('work').hidden && !document.getElementById('table').hidden"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_with_quotes_and_a_header(page: Chromium, tmp_path: Path, delimiter: str, end: str) -> None:
    rows = [
        ["id", "review", "label"],
        ["1", f'a good{end}"film"{delimiter} a good film', "@SUM(A1)"],
        ["-2", "=1+1 is a bad film", "+x"],
    ]
    lines = [delimiter.join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row) for row in rows]
    _open_file(page, tmp_path / "reviews.csv", ("\ufeff" + end.join([*lines, ""])).encode())
    page.wait(FINISHED)
    page.shoot("table")
    texts = [rows[1][1], rows[2][1]]
    predictions = model().predict_batch(texts)
    assert page.find("column").get_attribute("value") == "1"
    saved = _saved_rows(page)
    assert saved[0] == ["id", "review", "label", "predicted_label", "probability", "known", "novelty"]
    assert [row[:4] for row in saved[1:]] == [
        ["1", texts[0], "'@SUM(A1)", predictions[0].label],
        ["-2", f"'{texts[1]}", "'+x", predictions[1].label],
    ]
    assert page.complaints() == []


def test_a_quote_at_the_start_of_a_cell_swallows_no_rows(page: Chromium, tmp_path: Path) -> None:
    content = 'text,label\n"good film,pos\nbad,neg\n"bad" film,neg\n"never closed,neg\n'
    _open_file(page, tmp_path / "stray.csv", content.encode())
    page.wait(FINISHED)
    assert [row[0] for row in _saved_rows(page)] == [
        "text",
        '"good film',
        "bad",
        '"bad" film',
        '"never closed',
    ]
    content = 'text,label\n"swallowed,pos\n' + "bad,neg\n" * 3 + 'size 6",pos\n'
    _open_file(page, tmp_path / "late.csv", content.encode())
    page.wait("document.getElementById('problem').textContent.startsWith('Row 1 after the header: a quote')")
    assert not page.find("table").is_displayed()


def test_files_that_are_not_text_are_refused(page: Chromium, tmp_path: Path) -> None:
    for content in (b"PK\x03\x04\xff\xfe zip", b"text\nnul \0 inside\n"):
        _open_file(page, tmp_path / "table.csv", content)
        page.wait("document.getElementById('problem').textContent.startsWith('table.csv is not a text file')")
        assert not page.find("table").is_displayed()
        _open_file(page, tmp_path / "good.csv", "text\nfilm é\n".encode("utf-16"))
        page.wait(f"{FINISHED} && document.getElementById('problem').hidden")
        assert "1 text." in page.text("list-status")


def test_200_000_rows_leave_the_page_responsive(page: Chromium, tmp_path: Path) -> None:
    rows = "".join(f'{i},"a good film, or {i} bad films"\n' for i in range(200_000))
    page.driver.execute_script(
        "globalThis.longest = 0; let last = performance.now();"
        "setInterval(() => { const now = performance.now();"
        " longest = Math.max(longest, now - last); last = now; }, 10)"
    )
    _open_file(page, tmp_path / "many.csv", f"id,text\n{rows}".encode())
    page.wait("document.getElementById('progress').value > 0.02")
    page.shoot("progress")
    page.click("cancel")
    page.wait("document.getElementById('list-status').textContent.startsWith('Cancelled.')")
    page.find("column").send_keys("Column 2")
    page.driver.execute_script("document.getElementById('column').dispatchEvent(new Event('change'))")
    page.wait("document.getElementById('progress').value > 0.02")
    for _ in range(40):
        if page.driver.execute_script(f"return {FINISHED}"):
            break
        time.sleep(1)
    assert "200,000 texts" in page.text("list-status")
    assert len(_saved_rows(page)) == 200_001
    assert page.driver.execute_script("return longest") < 2_000
    assert page.complaints() == []
