"""Each check finds what is planted, and nothing in clean rows."""

import pytest

from token2wave.auditing.checks import CHECKS
from token2wave.auditing.findings import AuditRows
from token2wave.auditing.mojibake import find_broken
from token2wave.auditing.text_checks import is_card_number
from token2wave.data import TextSplit, load_split

pytestmark = pytest.mark.usefixtures("few_fits")

WORDS = ["kettle", "lamp", "chair", "phone", "tent", "printer", "mug", "table", "river", "forest"]
CLEAN = [f"The {w}, of the {w[::-1]} that it was, is for {w}{w} and to {w}ing." for w in WORDS]
PLANTED = {
    "contradictions": (["Buy it now"] * 2, ["x", "y"]),
    "duplicates": (["Buy it now", "buy  it NOW"], ["x", "x"]),
    "label-variants": (["one more text", "two more texts"], ["Spam", "spam"]),
    "empty": (["  ", "NULL"], ["x", "x"]),
    "single-characters": (["x"], ["x"]),
    "broken-encodings": (["Das ist schÃ¶n"], ["x"]),
    "html": (["a<br/>b", "fish &amp; chips"], ["x", "x"]),
    "secrets": (["my card 4111 1111 1111 1111 is lost", "AKIAIOSFODNN7EXAMPLE"], ["x", "x"]),
    "e-mails": (["write to a.b@example.org please"], ["x"]),
    "very-long": (["word " * 200_000], ["x"]),
    "other-languages": (["Das ist nicht gut und die Farbe wird auch mit der Zeit nicht besser"], ["x"]),
}


def run(name, texts, labels, test=None):
    rows = AuditRows(TextSplit(texts, labels, "rows"), test, tuple(sorted(set(labels))), None)
    (check,) = (check for check in CHECKS if check.name == name)
    return check.run(rows, 1000)


@pytest.mark.parametrize("name", PLANTED)
def test_a_check_finds_what_is_planted_and_nothing_else(name):
    texts, labels = PLANTED[name]
    finding = run(name, [*CLEAN, *texts], ["x"] * len(CLEAN) + labels)
    numbers = {row for match in finding.matches for row in match.rows}
    assert finding.matches
    assert numbers <= set(range(len(CLEAN), len(CLEAN) + len(texts)))
    assert not run(name, CLEAN, ["x", "y"] * 5).matches


def test_leaks_name_the_rows_of_both_files():
    test = TextSplit(["new", CLEAN[3].upper()], ["x", "x"], "test")
    document = run("leaks", CLEAN, ["x", "y"] * 5, test).document
    assert document["rows"] == [[4, 2]]
    assert [example["split"] for example in document["examples"]] == ["train", "test"]


def test_secrets_are_not_repeated():
    document = run("secrets", ["key AKIAIOSFODNN7EXAMPLE here"], ["x"]).document
    assert "AKIA" not in str(document)


def test_card_numbers_need_a_valid_check_digit():
    assert is_card_number("4012 8888-8888 1881")
    assert not is_card_number("4012888888881882")


@pytest.mark.parametrize(
    "text", ["naïve café", "CAFÉ” no", "Spaß… groß“", "Ünï", "日本語", "Привет РОССИЯ", "AMANHÃ"]
)
def test_clean_texts_are_not_broken(text):
    assert find_broken(text) is None


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
@pytest.mark.parametrize("text", ["schön", "it’s", "£5", "Привет мир"])
def test_broken_texts_are_found(text, encoding):
    assert find_broken(text.encode().decode(encoding, "ignore")) is not None


def test_a_column_that_groups_rows_is_named(tmp_path):
    path = tmp_path / "rows.csv"
    rows = [f"{i},film{i % 20},text {i},{'xy'[i % 20 % 2]}" for i in range(100)]
    path.write_text("\n".join(["id,film,text,label", *rows]))
    split = load_split(path, with_table=True)
    audited = AuditRows(split, None, ("x", "y"), None)
    (check,) = (check for check in CHECKS if check.name == "groups")
    assert [match.detail.split("'")[1] for match in check.find(audited)] == ["film"]
