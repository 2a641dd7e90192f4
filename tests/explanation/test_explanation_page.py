from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from html.parser import HTMLParser
from importlib import resources
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from token2wave.errors import ConfigError
from token2wave.explanation import Explanation, TextPart, explanation_page, html_page
from token2wave.explanation.effects import displayable

Make = Callable[..., Explanation]
VOID = {"meta", "link", "br", "wbr", "hr", "img", "input"}
ODD = (
    "aZ _\t\n\r\0\x07\x0b\x0c\x1b\x1f\x7f\x85\x9b<>&\"'/$ {}%;#x"
    "\ud800\udbff\udc00\udfff\ufffe\uffff\U0001ffff\ufeff\u2028\u200d\u00ad\u00a0"
    "\u202e\u2066\u200fعربىe\u0301日本語👍🏽🇩🇪"
)
characters = st.one_of(st.sampled_from(ODD), st.characters(), st.integers(0, 0x10FFFF).map(chr))
fragments = st.sampled_from(
    [
        "</script>",
        "<script>",
        "</div></span>",
        "<!--",
        "-->",
        "]]>",
        "&lt;",
        "&#0;",
        "$title",
        "\r\n",
        "<![CDATA[",
    ]
)
texts = st.lists(st.one_of(characters, fragments), max_size=30).map("".join)


class Page(HTMLParser):
    """Checks that tags nest, and keeps what tests ask about; several texts are kept one after the other."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[tuple[str, str]] = []  # tag, class
        self.tags: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""  # visible
        self.coloured = ""  # the classified text
        self.parts: list[tuple[dict[str, str | None], str]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.names: list[str] = []  # of classes, beside their bars
        self.folded = 0  # bars within details
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def inside(self, tag: str, style: str | None = None) -> bool:
        return any(tag == each and (style is None or style in styles.split()) for each, styles in self.open)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        assert len(attributes) == len(attrs), (tag, attrs)
        self.tags.append(tag)
        self.attributes.append((tag, attributes))
        style = attributes.get("class") or ""
        if tag == "span" and self.inside("div", "text"):
            self.parts.append((attributes, ""))
        if tag == "span" and style == "name":
            self.names.append("")
            self.folded += self.inside("details")
        if tag == "script":
            self.scripts.append((attributes, ""))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append((tag, style))

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self.inside("script"):
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
            return
        if self.inside("style"):
            return
        self.text += data
        if self.inside("div", "text"):
            self.coloured += data
            if self.open[-1][0] == "span":
                self.parts[-1] = (self.parts[-1][0], self.parts[-1][1] + data)
        if self.inside("span", "name"):
            self.names[-1] += data
        if self.inside("th") or self.inside("td"):
            self.rows[-1][-1] += data

    def values(self, name: str) -> list[str]:
        return [str(attributes[name]) for _, attributes in self.attributes if name in attributes]


def shown(*explanations: Explanation, title: str = "Why") -> Page:
    return Page(explanation_page(explanations, title))


def slowly_displayable(text: str) -> str:
    """The same by Unicode's own categories."""
    replaced = []
    for c in text:
        category = unicodedata.category(c)
        if category == "Cc" and c not in "\n\t":
            replaced.append(" " if c.isspace() else "\ufffd")
        elif category == "Cs" or ord(c) in (0xFFFE, 0xFFFF):
            replaced.append("\ufffd")
        else:
            replaced.append(c)
    return "".join(replaced)


@st.composite
def hostile_explanations(draw: st.DrawFn, make: Make) -> Explanation:
    text = draw(texts)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    spans = list(zip(cuts[::2], cuts[1::2], strict=False)) + list(zip(cuts[1::2], cuts[2::2], strict=False))
    labels = draw(st.lists(texts, min_size=1, max_size=4))
    share = st.floats(-1, 1) | st.sampled_from([float("nan"), 0.0, 1e-9, -1.0])
    kept = sorted(draw(st.lists(st.sampled_from(spans), unique=True))) if spans else []
    effects = [[draw(share) for _ in labels] for _ in kept]
    return make(
        text, effects, labels=labels, spans=kept, probabilities=[draw(st.floats(0, 1)) for _ in labels]
    )


# ------------------------------------------------------------------------------------ the data


def test_label_is_the_most_probable_class(make: Make) -> None:
    explanation = make("x", labels=("a", "b", "c"), probabilities=(0.25, 0.375, 0.375))
    assert (explanation.predicted, explanation.label) == (1, "b")
    assert explanation.ranking() == [1, 2, 0]


def test_strongest_counts_both_directions(make: Make) -> None:
    explanation = make("a b c d", [(0.1, 0.3), (-0.5, 0.0), (0.2, -0.2), (-0.2, 0.4)])
    a, b, c, d = explanation.parts
    assert explanation.strongest() == [b, c, d, a]
    assert explanation.strongest("trade", 2) == [d, a]
    assert explanation.strongest("sport", 0) == []
    with pytest.raises(
        ConfigError, match="expected a class of the model, found 'sports'; choose one of 'sport'"
    ):
        explanation.strongest("sports")


def test_a_number_that_is_not_finite_is_the_weakest(make: Make) -> None:
    explanation = make("a b c", [(float("nan"), 0), (0.1, 0), (-0.2, 0)])
    assert [part.start for part in explanation.strongest()] == [4, 2, 0]
    assert shown(explanation).parts[0][0]["class"] == "f0"


def test_to_dict_is_plain(news: Explanation, make: Make) -> None:
    plain = json.loads(json.dumps(news.to_dict(), allow_nan=False))
    assert plain == news.to_dict()
    assert plain["label"] == "sport"
    assert plain["parts"][3] == {
        "text": "gold",
        "start": 14,
        "end": 18,
        "energy": 0.0,
        "effects": [0.019, -0.019],
        "logit_effects": [0.076, -0.076],
        "known": False,
    }
    odd = make("\ud800", [(float("nan"), 1.0)], probabilities=(float("inf"), 0.5)).to_dict()
    assert json.loads(json.dumps(odd, allow_nan=False)) == odd
    assert odd["parts"][0]["effects"] == [None, 1.0]
    assert odd["probabilities"] == [None, 0.5]


def test_what_contradicts_itself_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="start < end"):
        TextPart(3, 3, 0.0, (0.0,), (0.0,), True)
    with pytest.raises(ValueError, match="do not overlap"):
        make("abc", spans=[(0, 2), (1, 3)])
    with pytest.raises(ValueError, match="do not overlap"):
        make("abc", spans=[(2, 3), (0, 1)])
    with pytest.raises(ValueError, match="within 3 characters, found one up to 4"):
        make("abc", spans=[(0, 4)])
    with pytest.raises(ValueError, match="effects of each part on 2 classes"):
        make("abc", [(0.1,)])
    with pytest.raises(ValueError, match="a probability and a logit for each class"):
        make("abc", probabilities=(1.0,))
    with pytest.raises(ValueError, match="unit of token, word, sentence, found 'letter'"):
        make("abc", unit="letter")


@given(texts)
def test_displayable_replaces_character_by_character(text: str) -> None:
    assert displayable(text) == slowly_displayable(text)


# ------------------------------------------------------------------------------------ the text on the page


@settings(deadline=None)
@given(data=st.data())
def test_hostile_text_and_labels_come_back_as_they_were(make: Make, data: st.DataObject) -> None:
    explanation = data.draw(hostile_explanations(make))
    text = explanation_page([explanation], data.draw(texts))
    assert text.encode("utf-8").decode("utf-8") == text
    assert not re.search(r"[\0-\x08\x0b-\x1f\x7f-\x9f]", text)
    page = Page(text)
    expected = slowly_displayable(explanation.text)
    assert page.coloured == expected
    assert [content for _, content in page.parts] == [expected[p.start : p.end] for p in explanation.parts]
    assert len(page.names) == len(explanation.label_names)
    assert len(page.scripts) == 2
    assert not {"img", "b", "!--"} & set(page.tags)
    assert not [name for name in {n for _, a in page.attributes for n in a} if name.startswith("on")]


def test_markup_between_parts_is_text(make: Make) -> None:
    text = "<b>one</b> &amp; <!-- </div> two <i> &lt;"
    page = shown(make(text, spans=[(3, 6), (text.index("two"), text.index(" <i>"))]))
    assert page.coloured == text
    assert [content for _, content in page.parts] == ["one", "two"]


def test_hostile_labels_are_text(make: Make, hostile_labels: tuple[str, ...]) -> None:
    words = [(0.1,) * len(hostile_labels)]
    page = shown(make("x", words, labels=hostile_labels), title="</title><script>alert(1)</script>")
    assert page.names == [
        "</script><img src=x onerror=alert(1)>",
        "-",
        "id=\"a\" onload='b' & &amp; ]]> -->",
        "\ufffd\ufffd[31m \ufffd",
        " gnitteg",
        "[red]$title ${sections}[/red] :smile:",
        "x" * 39 + "…",
        "\U0001f600日本語",
    ]
    assert page.rows[0][1:2] + page.rows[0][4:] == page.names[: html_page.MAX_COLUMNS]
    assert "</title><script>alert(1)</script>" in page.text
    assert "Effect on </script><img src=x onerror=alert(1)>: +10.0 points." in str(page.parts[0][0]["title"])


def test_white_space_is_kept(make: Make) -> None:
    text = "\n\n  a\t b \n\n c\n"
    assert shown(make(text)).coloured == text
    assert re.search(r"\.text { white-space: pre-wrap;", explanation_page([], ""))


# ------------------------------------------------------------------------------------ colours and figures


def test_colour_follows_the_effect_on_the_predicted_class(news: Explanation) -> None:
    page = shown(news)
    assert [attributes["class"] for attributes, _ in page.parts] == [
        "f10",
        "f5",
        "f0",
        "f0 u",
        "a3",
    ]
    assert [attributes["title"] for attributes, _ in page.parts] == [
        "Effect on sport: +40.0 points. Energy: 50.0%.",
        "Effect on sport: +20.0 points. Energy: 25.0%.",
        "Effect on sport: 0.0 points. Energy: 12.5%.",
        "Effect on sport: +1.9 points. Energy: 0.0%. Unknown to the model.",
        "Effect on sport: −10.0 points. Energy: 12.5%.",
    ]
    for words in (
        "lowers sport (−40.0)",
        "raises sport (+40.0 points)",
        "dotted: unknown",
        "1 unknown to the",
    ):
        assert words in page.text


def test_predicted_class_need_not_be_the_first(make: Make) -> None:
    page = shown(make("a b", [(0.5, -0.25), (-0.5, 0.125)], probabilities=(0.25, 0.75)))
    assert [attributes["class"] for attributes, _ in page.parts] == ["a10", "f5"]
    assert str(page.parts[0][0]["title"]).startswith("Effect on trade: −25.0 points.")
    assert "raises trade (+25.0 points)" in page.text
    assert page.rows[1] == ["a", "−25.0", "", "50.0%", "+50.0"]


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=9))
def test_a_stronger_effect_has_no_weaker_colour(make: Make, effects: list[float]) -> None:
    page = shown(make("w " * len(effects), [(effect, 0.0) for effect in effects]))
    levels = []
    for attributes, _ in page.parts:
        style = str(attributes["class"])
        levels.append((-1 if style[0] == "a" else 1) * int(style[1:]))
    ordered = [level for _, level in sorted(zip(effects, levels, strict=True))]
    assert ordered == sorted(ordered)
    most = max(map(abs, effects))
    assert max(map(abs, levels)) == (10 if most >= 1e-6 else 0)
    for effect, level in zip(effects, levels, strict=True):
        if most > 1e-3:
            assert abs(level - 10 * effect / most) < 0.56  # half a level, and the rounding to what is shown


def test_every_level_has_a_colour() -> None:
    style = explanation_page([], "")
    for level in range(1, html_page.SHADES + 1):
        for kind in "fae":
            assert (
                len(re.findall(rf"\.{kind}{level}\b[^{{}}]*{{", style)) >= 2
            )  # a colour, and how much of it
    assert f".f{html_page.SHADES + 1}" not in style


def test_letters_stand_out_from_every_colour() -> None:
    """WCAG asks for a contrast of 4.5."""

    def luminance(channels: tuple[int, ...]) -> float:
        linear = [
            c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in channels)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
        low, high = sorted([luminance(one), luminance(other)])
        return (high + 0.05) / (low + 0.05)

    template = resources.files("token2wave.explanation").joinpath("page.html").read_text("utf-8")
    schemes = re.findall(r":root {(.*?)}", template, re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        hexadecimal = {n: tuple(bytes.fromhex(v)) for n, v in re.findall(r"--([\w-]+): #(\w{6});", scheme)}
        tints = {n: tuple(map(int, v.split())) for n, v in re.findall(r"--([\w-]+): (\d+ \d+ \d+);", scheme)}
        assert set(tints) == {"for", "against", "energy"}
        assert all(contrast(hexadecimal["ink"], tint) >= 4.5 for tint in tints.values())
        assert contrast(hexadecimal["ink"], hexadecimal["card"]) >= 7
        assert contrast(hexadecimal["muted"], hexadecimal["card"]) >= 4.5


def test_small_effects_have_more_decimals(make: Make) -> None:
    page = shown(make("a b c", [(0.0012345, 0), (-0.00002, 0), (0.5e-7, 0)]))
    titles = [str(attributes["title"]) for attributes, _ in page.parts]
    assert [re.findall("sport: (.*?) points", title)[0] for title in titles] == ["+0.12", "0.00", "0.00"]
    tiny = shown(make("a b", [(0.0000123, 0), (-0.000002, 0)]))
    assert "+0.0012 points" in str(tiny.parts[0][0]["title"])
    assert "−0.0002 points" in str(tiny.parts[1][0]["title"])


def test_rounding_errors_are_no_effects(make: Make) -> None:
    page = shown(make("a b", [(9e-7, 0), (-6e-8, 0)]))
    assert [attributes["class"] for attributes, _ in page.parts] == ["f0", "f0"]
    assert "No word on its own changes the probability of sport." in page.text
    assert "raises" not in page.text


def test_table_lists_the_strongest(make: Make) -> None:
    words = " ".join(f"w{i}" for i in range(20))
    effects = [((-1) ** i * i / 100, i / 1000, 0.0) for i in range(20)]
    page = shown(make(words, effects, labels=("a", "b", "c"), probabilities=(0.2, 0.3, 0.5)))
    head, *rows = page.rows
    assert head == ["word", "c", "", "energy", "b", "a"]
    assert [row[0] for row in rows] == [f"w{i}" for i in range(15)]  # no effect on c: the order of the text
    page = shown(make(words, effects, labels=("a", "b", "c"), probabilities=(0.5, 0.3, 0.2)))
    head, *rows = page.rows
    assert head == ["word", "a", "", "energy", "b", "c"]
    assert [row[0] for row in rows] == [f"w{i}" for i in range(19, 4, -1)]
    assert rows[0] == ["w19", "−19.0", "", "5.0%", "+1.9", "0.0"]
    assert rows[1] == ["w18", "+18.0", "", "5.0%", "+1.8", "0.0"]
    ids = page.values("id")
    links = [link for link in page.values("href") if link.startswith("#")]
    assert [link[1:] for link in links] == [f"text-1-{i}" for i in range(19, 4, -1)]
    assert len(ids) == len(set(ids))
    assert set(page.values("aria-labelledby")) <= set(ids)
    focusable = [attributes["id"] for attributes, _ in page.parts if attributes.get("tabindex") == "0"]
    assert focusable == [f"text-1-{i}" for i in range(5, 20)]
    widths = [value for value in page.values("style") if "width" in value]  # the bars of the classes follow
    assert widths[:2] == ["width:50%", "width:47.37%"]


def test_many_classes_are_folded(make: Make) -> None:
    labels = [f"class_{i}" for i in range(77)]
    probabilities = [(i * 31 % 77 + 1) / 3003 for i in range(77)]
    page = shown(make("a b", [[i / 100 for i in range(77)]], labels=labels, probabilities=probabilities))
    expected = sorted(range(77), key=lambda i: -probabilities[i])
    assert page.names == [labels[i] for i in expected]
    assert page.folded == 67
    assert "67 more classes" in page.text
    assert "5 of 77 classes are shown" in page.text
    assert page.rows[0][1:2] + page.rows[0][4:] == [labels[i] for i in expected[:5]]
    radios = [a for tag, a in page.attributes if tag == "input" and a["name"] == "text-1-class"]
    assert [radio["value"] for radio in radios] == list(map(str, expected))
    assert ["checked" in radio for radio in radios] == [True] + [False] * 76
    assert shown(make("a", labels=labels[:10])).folded == 0
    assert "1 more class<" in explanation_page([make("a", labels=labels[:11])], "")


def test_one_class_and_no_words(make: Make) -> None:
    page = shown(make("  \n", labels=("only",), probabilities=(1.0,)))
    assert page.coloured == "  \n"
    assert "table" not in page.tags
    assert "Runner-up" not in page.text
    assert page.names == ["only"]


# ------------------------------------------------------------------------------------ the page as a whole


def test_script_gets_the_figures_of_every_class(news: Explanation) -> None:
    (data, content), (attributes, _) = shown(news).scripts
    assert data == {"type": "application/json"}
    assert attributes == {}
    assert json.loads(content) == {
        "energy": {"decimals": 2, "values": [5000, 2500, 1250, 0, 1250]},
        "effects": [
            {"decimals": 2, "values": [4000, 2000, 0, 190, -1000]},
            {"decimals": 2, "values": [-4000, -2000, 0, -190, 1000]},
        ],
    }


def test_script_counts_as_the_page_does() -> None:
    _, script = shown().scripts[-1]
    for name, value in (
        ("LISTED", html_page.MAX_PARTS),
        ("COLUMNS", html_page.MAX_COLUMNS),
        ("SHADES", html_page.SHADES),
        ("PART_CHARACTERS", html_page.PART_COLUMNS),
    ):
        assert re.search(rf"\b{name} = {value}\b", script)


def test_only_the_script_of_the_page_may_run(news: Explanation) -> None:
    text = explanation_page([news, news], "Why")
    page = Page(text)
    [script] = [content for attributes, content in page.scripts if "type" not in attributes]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = [a["content"] for _, a in page.attributes if a.get("http-equiv") == "Content-Security-Policy"]
    assert str(policy).split("; ") == [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert "innerHTML" not in script


def test_page_asks_nothing_of_the_network(news: Explanation) -> None:
    text = explanation_page([news], "Why")
    page = Page(text)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert all(address.startswith(("#", "data:")) for address in page.values("href") + page.values("src"))
    assert "prefers-color-scheme: dark" in text


def test_page_says_what_the_numbers_mean() -> None:
    text = " ".join(shown().text.split())
    assert "how many percentage points it adds to the probability of a class, or takes from it" in text
    assert "exact, not sampled: the word is left out, and the text is predicted again" in text
    assert "Energy is the word's share of the waves that make up the text." in text


def test_several_texts_have_a_list(news: Explanation, make: Make) -> None:
    other = make("a <b> text", probabilities=(0.25, 0.75), unit="token")
    page = shown(news, other)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert "2 texts" in page.text
    assert "trade 75.0% a <b> text" in page.text
    assert {"#text-1", "#text-2"} <= set(page.values("href"))
    assert page.coloured == news.text + other.text
    names = {a["name"] for tag, a in page.attributes if tag == "input"}
    assert names == {f"text-{i}-{kind}" for i in (1, 2) for kind in ("class", "measure")}
    assert page.values("data-unit") == ["word", "token"]
    assert "There are no texts to explain." in shown().text


def test_a_long_text_stays_usable(make: Make) -> None:
    effects = [(i % 100 / 1000, -(i % 100) / 1000) for i in range(10_000)]
    explanation = make("word " * 10_000, effects)
    text = explanation_page([explanation], "Long")
    assert len(text) < 2_000_000
    page = Page(text)
    assert len(page.parts) == 10_000
    assert len(page.rows) == 16
    assert len(page.values("tabindex")) < 30


def test_the_same_explanation_gives_the_same_page(news: Explanation) -> None:
    assert explanation_page([news], "Why") == explanation_page([news], "Why")


def test_nothing_imports_torch() -> None:
    code = "import token2wave.explanation, sys; print({'torch', 'matplotlib', 'rich'} & set(sys.modules))"
    result: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
