"""Every command reads a spreadsheet's file as it is written, and says how in a note."""

from pathlib import Path

from cli_helpers import ROWS, TINY

NOTES = ["a.csv: read as semicolon-separated, cp1252", "a.csv: texts are read from 'Kommentar'"]


def test_commands_say_how_a_file_is_written(run_cli, workplace):
    rows = [f"{text.replace(';', ',')} café;{label}\r\n" for text, label in ROWS]
    Path("a.csv").write_bytes("".join(["Kommentar;Stimmung\r\n", *rows]).encode("cp1252"))
    trained = run_cli("train", "a.csv", "--out", "m", *TINY, "--json")
    labels = f"{NOTES[1]}, labels from 'Stimmung'"
    assert trained.document["caveats"][:2] == [NOTES[0], labels]
    assert run_cli("evaluate", "m", "a.csv", "--json").document["caveats"][:2] == [NOTES[0], labels]
    predicted = run_cli("predict", "m", "--file", "a.csv", "--json")
    assert [entry["text"] for entry in predicted.document] == [row.rsplit(";", 1)[0] for row in rows]
    for arguments in (["predict", "--file", "a.csv"], ["explain", "--file", "a.csv"]):
        lines = run_cli(arguments[0], "m", *arguments[1:]).err.splitlines()
        assert [line for line in lines if line.startswith("Note")] == [f"Note: {note}" for note in NOTES]
    assert "Note" not in run_cli("predict", "m", "--file", "a.csv", "--quiet").err
    scored = run_cli("score", "m", "a.csv", "--output", "scores", "--format", "jsonl")
    assert f"Note: {NOTES[0]}" in scored.err
    assert "café" in next(Path("scores/parts").iterdir()).read_text(encoding="utf-8")
    assert run_cli("score", "m", "a.csv", "--output", "scores", "--format", "jsonl").status == 0  # resumed
    other = run_cli("score", "m", "a.csv", "--output", "scores", "--format", "jsonl", "--encoding", "latin-1")
    assert "the folder holds a job with dialects" in other.error
    assert f"Note: {labels}" in run_cli("update", "m", "a.csv", "--out", "n").err
    assert "--delimiter ';'" in run_cli("evaluate", "m", "a.csv", "--delimiter", "tab").error
