from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from token2wave.explanation import Explanation, print_explanation
from token2wave.explanation.console import LOWERS, RAISES

Make = Callable[..., Explanation]
DIRECTIONS = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
STYLE_CODE = re.compile(r"\x1b\[[0-9;]*m")
ODD = (
    "aZ []/=\\+-\t\n\r\0\x07\x08\x0b\x0c\x1b\x7f\x85\x9b\ud800\udfff\uffff\u202e\u2067\u200d"
    "عربىe\u0301日本語👍🏽🇩🇪:"
)
FRAGMENTS = [
    "[bold]",
    "[/bold]",
    "[/]",
    "[link=x]",
    ":smile:",
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\r\n",
    "[+",
    "-]",
]
texts = st.lists(st.sampled_from(ODD) | st.characters() | st.sampled_from(FRAGMENTS), max_size=25).map(
    "".join
)


def printed(explanation: Explanation, **console: Any) -> str:
    """What a file gets; a terminal where ``force_terminal`` is set."""
    file = io.StringIO()
    print_explanation(explanation, Console(file=file, **{"width": 200, "_environ": {}} | console))
    return file.getvalue()


def in_colours(explanation: Explanation, system: str = "truecolor") -> Text:
    return Text.from_ansi(printed(explanation, force_terminal=True, color_system=system))


def style_of(shown: Text, word: str) -> str:
    """The style of a word where it first stands, as rich writes styles."""
    start = shown.plain.index(word)
    console = Console(force_terminal=True, color_system="truecolor", _environ={})
    styles = {str(shown.get_style_at_offset(console, start + i)) for i in range(len(word))}
    assert len(styles) == 1, word
    return styles.pop()


def test_a_file_gets_marks(news: Explanation) -> None:
    assert printed(news) == (
        "sport 75.00%, trade 25.00%\n"
        "\n"
        "[+striker+] [+won+] a\n"
        "gold [-share-]\n"
        "\n"
        "[+raises+] or [-lowers-] the probability of sport by up to 40.00 points; "
        "a word with less than a quarter of that is not marked\n"
        "\n"
        "word     effect on sport  effect on trade  energy\n"
        "striker           +40.00           -40.00  50.00%\n"
        "won               +20.00           -20.00  25.00%\n"
        "share             -10.00           +10.00  12.50%\n"
        "gold               +1.90            -1.90   0.00%\n"
        "a                   0.00             0.00  12.50%\n"
    )


def test_lines_of_a_file_are_those_of_the_text(make: Make) -> None:
    text = "\n  one " + "word " * 100 + "\n\ttwo\n\nthree"
    out = printed(make(text), width=40)
    assert out.split("\n\n", 1)[1].startswith(text.replace("\t", " " * 8))
    assert "No word on its own changes the probability of sport." in out


def test_a_terminal_gets_colours(news: Explanation) -> None:
    shown = in_colours(news)
    assert [style_of(shown, word) for word in ("striker", "won", " a\n", "gold", "share")] == [
        RAISES[2],
        RAISES[1],
        "none",
        "underline",
        LOWERS[1],
    ]
    assert "[+" not in shown.plain
    assert "by up to 40.00 points; underlined: unknown to the model" in shown.plain
    assert shown.plain.startswith("sport 75.00%, trade 25.00%\n\nstriker won a\ngold share\n")


def test_a_terminal_of_sixteen_colours_uses_its_own(news: Explanation) -> None:
    out = printed(news, force_terminal=True, color_system="standard")
    assert "\x1b[1;97;44mstriker\x1b[0m" in out
    assert "\x1b[97;41mshare\x1b[0m" in out


def test_without_colours_a_terminal_gets_marks(news: Explanation) -> None:
    for console in ({"no_color": True}, {"_environ": {"NO_COLOR": "1"}}, {"color_system": None}):
        assert "[+striker+] [+won+] a" in printed(news, force_terminal=True, **console)


def test_weaker_effects_have_weaker_shades(make: Make) -> None:
    text = "q1 q2 q3 q4 q5 q6"
    shown = in_colours(make(text, [(0.05, 0), (0.08, 0), (0.25, 0), (0.6, 0), (1, 0), (-0.1, 0)]))
    assert [style_of(shown, word) for word in text.split()] == [
        "none",
        RAISES[0],
        RAISES[1],
        RAISES[2],
        RAISES[2],
        LOWERS[0],
    ]


@settings(deadline=None)
@given(data=st.data())
def test_no_command_reaches_the_terminal(make: Make, data: st.DataObject) -> None:
    text, labels = data.draw(texts), data.draw(st.lists(texts, min_size=1, max_size=4))
    spans = [(i, i + 1) for i in range(len(text)) if data.draw(st.booleans())]
    effects = [[data.draw(st.floats(-1, 1)) for _ in labels] for _ in spans]
    explanation = make(text, effects, labels=labels, spans=spans)
    width = data.draw(st.integers(1, 100))
    for terminal in (False, True):
        out = printed(
            explanation,
            force_terminal=terminal,
            color_system="truecolor" if terminal else "auto",
            width=width,
        )
        out = STYLE_CODE.sub("", out) if terminal else out
        assert not re.search("[\0-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]", out)


@given(texts)
def test_nothing_of_the_text_is_lost_or_taken_for_markup(make: Make, text: str) -> None:
    text = text.replace("\t", " ")  # a tab is as wide as it happens to be
    expected = ""
    for c in text:
        category = unicodedata.category(c)
        if category == "Cs" or c == "\uffff" or (category == "Cc" and not c.isspace()):
            expected += "\ufffd"
        elif unicodedata.bidirectional(c) not in DIRECTIONS and c not in "\u061c\u200e\u200f":
            expected += " " if category == "Cc" and c != "\n" else c
    out = printed(make(text, spans=[]))
    assert out == f"sport 50.00%, trade 50.00%\n\n{expected}\n\nThe text has no words.\n"


def test_labels_are_text(make: Make, hostile_labels: tuple[str, ...]) -> None:
    labels = ["[red]a[/red]", ":smile:", "</i>", "d", "e"]
    out = printed(make("[bold]x[/bold] :smile:", [(0.1,) * 5, (-0.1,) * 5], labels=labels))
    assert out.startswith(
        "[red]a[/red] 50.00%, :smile: 25.00%, </i> 12.50% and 2 more\n\n[+[bold]x[/bold]+] [-:sm"
    )
    assert out.splitlines()[-2].startswith("[bold]x[/bold]  ")
    assert "effect on [red]a[/red]  effect on :smile:  energy" in out
    assert "the probability of [red]a[/red] by" in out
    out = printed(make("x", [(0.1,) * 8], labels=hostile_labels))
    assert out.startswith("</script><img src=x onerror=ale… 50.00%, - 25.00%, id=")


def test_table_holds_the_eight_strongest(make: Make) -> None:
    words = " ".join(f"w{i}" for i in range(12))
    effects = [((-1) ** i * i / 100, i / 10000, 0) for i in range(12)]
    out = printed(make(words, effects, labels="abc", probabilities=(0.5, 0.2, 0.3)))
    rows = [line.split() for line in out.split("\n\n")[-1].splitlines()]
    assert [row[0] for row in rows] == ["word", *(f"w{i}" for i in range(11, 3, -1))]
    assert rows[0][1:] == ["effect", "on", "a", "effect", "on", "c", "energy"]  # c is the runner-up
    assert rows[1] == ["w11", "-11.00", "0.00", "8.33%"]


def test_one_class_has_no_runner_up(make: Make) -> None:
    out = printed(make("a b", [(0.0,), (0.0,)], labels=["only"], probabilities=[1.0]))
    assert out.startswith("only 100.00%\n\na b\n\nNo word on its own changes the probability of only.\n\n")
    assert out.splitlines()[-3].split() == ["word", "effect", "on", "only", "energy"]


def test_standard_output_is_where_it_goes(news: Explanation, capsys: pytest.CaptureFixture[str]) -> None:
    print_explanation(news)
    assert capsys.readouterr().out.startswith("sport 75.00%, trade 25.00%\n\n[+striker+]")
