"""``token2wave export --to html``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


def test_a_model_becomes_a_page(run_cli: Cli, model: Path, workplace: Path) -> None:
    Path("examples.txt").write_text("a great film\nawful <b>\n", encoding="utf-8")
    command = ("export", model, "--to", "html", "--out", "reviews.html", "--examples", "examples.txt")
    outcome = run_cli(*command, "--json")
    assert outcome.status == 0
    n_model = model.stat().st_size
    assert outcome.document == {
        "format": "html",
        "path": "reviews.html",
        "bytes": Path("reviews.html").stat().st_size,
        "model_bytes": n_model,
        "model_bytes_before": n_model,
    }
    page = Path("reviews.html").read_text("utf-8")
    assert f"<title>{model.stem}</title>" in page
    assert '"examples":["a great film","awful \\u003cb>"]' in page
    printed = run_cli(*command).out
    assert "reviews.html: " in printed
    assert "Open reviews.html in a browser" in printed
    assert "compress" not in printed


def test_the_page_is_named_after_the_model(run_cli: Cli, model: Path, workplace: Path) -> None:
    outcome = run_cli("export", model, "--to", "html", "--json")
    assert outcome.document["path"] == str(model.with_name(f"{model.stem}.html"))
    assert model.with_name(f"{model.stem}.html").exists()


def test_the_output_says_what_became_of_the_model(
    run_cli: Cli, model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from token2wave.serving import page

    Path("examples.txt").write_text("a great film\n", encoding="utf-8")
    exported = page.ExportedPage(1_990_000, 1_390_000, 29_900_000, 1)
    monkeypatch.setattr(page, "export_html", lambda *_, **__: exported)
    command = ("export", model, "--to", "html", "--out", "a.html", "--examples", "examples.txt")
    printed = run_cli(*command).out
    assert "The model was compressed from 29.9 MB to 1.39 MB" in printed
    assert "Examples that get another label: 1 of 1." in printed
    assert "--data DATA --max-size 1MB" in printed
    assert "--no-compress" in printed
    exported = page.ExportedPage(3_000_000, 2_000_000, 2_000_000, 0, "it cannot")
    printed = run_cli(*command).out
    assert "The page is larger than 2MB: it cannot." in printed
    assert "was compressed" not in printed


@pytest.mark.parametrize(
    ("options", "expected"), [((), "2MB"), (("--no-compress",), None), (("--max-size", "5MB"), "5MB")]
)
def test_the_size_that_is_asked_for(
    run_cli: Cli, model: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], expected: str | None
) -> None:
    from token2wave.serving import page

    sizes = []

    def export_html(*_: Any, max_size: str | None, **__: Any) -> Any:
        sizes.append(max_size)
        return page.ExportedPage(1, 1, 1, 0)

    monkeypatch.setattr(page, "export_html", export_html)
    assert run_cli("export", model, "--to", "html", "--out", "a.html", *options).status == 0
    assert sizes == [expected]


def test_other_formats_refuse_examples(run_cli: Cli, workplace: Path) -> None:
    outcome = run_cli("export", "missing", "--to", "onnx", "--out", "a", "--examples", "examples.txt")
    assert "--examples: only the format html has examples" in outcome.error


def test_missing_examples_are_an_error(run_cli: Cli, model: Path, workplace: Path) -> None:
    outcome = run_cli("export", model, "--to", "html", "--out", "a.html", "--examples", "nowhere.txt")
    assert "nowhere.txt" in outcome.error
    assert not Path("a.html").exists()
