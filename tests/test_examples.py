"""The examples run on built-in or made-up data, and do what their page says."""

import gzip
import json
import re
import runpy
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture
def run_example(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, "--quick", *arguments])
        runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_page_names_every_example():
    page = (ROOT / "docs" / "examples.md").read_text()
    for path in EXAMPLES:
        assert f"examples/{path.name}" in page
        assert '"--quick"' in path.read_text()
    assert len(EXAMPLES) == 5


def test_news_topics(run_example, tmp_path):
    printed = run_example("news_topics")
    assert float(re.search(r"debian-sections: ([\d.]+)%", printed)[1]) > 60
    assert "LinearSVC" in printed
    assert (tmp_path / "build/examples/topics-small.safetensors").stat().st_size <= 300_000


def test_sentiment(run_example, tmp_path):
    printed = run_example("sentiment")
    assert float(re.search(r"reviews: ([\d.]+)%", printed)[1]) > 75
    assert (tmp_path / "build/examples/sentiment.html").read_text().startswith("<!")
    assert len(re.findall(r"after '", printed)) == 3
    assert re.search(r"superb +\+0\.\d+ on good", printed)


def test_intent_routing(run_example):
    printed = run_example("intent_routing")
    answered, of, right = re.search(r"(\d+) of (\d+) test questions answered, ([\d.]+)%", printed).groups()
    assert 0.3 < int(answered) / int(of) <= 1
    assert float(right) > 90
    refused, foreign = map(int, re.search(r"(\d+) of (\d+) texts about something else", printed).groups())
    assert refused / foreign > 0.9


def test_filter_crawl(run_example, tmp_path):
    printed = run_example("filter_crawl", "--pages", "1500")
    counts = [int(number.replace(",", "")) for number in re.findall(r"^ *([\d,]+)  ", printed, re.MULTILINE)]
    n_pages, n_kept, n_filtered, n_broken = counts
    assert n_pages == 1500 == n_kept + n_filtered + n_broken
    assert n_broken == 3
    kept = parquet.read_table(tmp_path / "build/examples/kept/parts").to_pylist()
    assert len(kept) == n_kept
    assert n_kept > 300
    assert {page["label"] for page in kept} == {"good"}
    page = runpy.run_path(str(ROOT / "examples" / "filter_crawl.py"))["Pages"]().page
    truth = [page(int(row["url"].rpartition("/")[2])) for row in kept]
    assert [text for text, _ in truth] == [row["text"] for row in kept]
    assert sum(label == "good" for _, label in truth) > 0.98 * n_kept
    assert run_example("filter_crawl", "--pages", "1500") == printed


def test_filter_crawl_on_your_own_files(run_example, tmp_path):
    with gzip.open(tmp_path / "pages.jsonl.gz", "wt") as stream:
        stream.write(json.dumps({"text": "login menu cart", "url": "x"}) + "\n")
    assert re.search(r"1  filtered out", run_example("filter_crawl", "--crawl", "pages.jsonl.gz"))


def test_on_device(run_example):
    printed = run_example("on_device")
    peaks = [int(number) for number in re.findall(r"peak (\d+) MB", printed)]
    assert len(peaks) == 3
    assert max(peaks) < 200
    before, after = map(float, re.search(r"accuracy ([\d.]+)%, then ([\d.]+)%", printed).groups())
    assert min(before, after) > 70


def test_device_memory_limit_is_enforced(run_example):
    with pytest.raises(SystemExit, match="train needs more than 90 MB"):
        run_example("on_device", "--memory", "90")
