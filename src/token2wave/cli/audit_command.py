"""The command ``audit``: which labels look wrong, and what else does?"""

from __future__ import annotations

from typing import Any

from token2wave.cli.arguments import Data, Json, print_json, takes_options
from token2wave.options import AuditOptions, DataOptions
from token2wave.reporting import terminal

MAX_SHOWN = 10
MAX_ROWS = 4  # of a finding
COLUMNS = 70


@takes_options(AuditOptions, DataOptions)
def audit(data: Data, options: dict[str, Any], as_json: Json = False) -> None:
    """Find wrong labels, contradictions, leaks and odd texts, and say what would help."""
    from token2wave.auditing.audit import audit as run
    from token2wave.auditing.learning_curve import helpful_sentences
    from token2wave.formatting import printable, shorten

    with terminal.progress() as callback:
        result = run(data, **options, callbacks=[callback])
    for note in result.document["notes"]:
        terminal.print_note(note)
    if as_json:
        print_json(result.to_dict())
        return
    if terminal.verbosity.is_quiet:
        return
    print(result.headline)
    if result.document["learning_curve"]:
        for sentence in helpful_sentences(result.document):
            print(sentence)
    for finding in result.findings:
        where = shorten(_where(finding), COLUMNS)
        print(f"{finding['severity']:8}{finding['count']:>7,}  {finding['title']}: {where}")
    if result.suspicious:
        print("most suspicious labels:")
    for row in result.suspicious[:MAX_SHOWN]:
        change = printable(f"{_name(row['label'])} -> {_name(row['proposed'])}")
        start = f"  row {row['row']:<7} {row['suspicion']:.2f}  {change}"
        print(f"{start:<44}  {shorten(row['text'], COLUMNS)}")
    if result.applied and result.all_findings:
        print(result.applied)
    for path in result.files:
        if path.stem == "cleaned" or path.suffix == ".html":
            print(f"{'page' if path.suffix == '.html' else 'cleaned copy'}: {path}")


def _where(finding: dict[str, Any]) -> str:
    """The first rows of a finding, and what its first example says."""
    groups = [row if isinstance(row, list) else [row] for row in finding["rows"][:MAX_ROWS]]
    rows = ", ".join(" = ".join(map(str, group[:2])) for group in groups)
    more = ", ..." if len(finding["rows"]) > MAX_ROWS else ""
    detail = finding["examples"][0]["detail"] if len(finding["rows"]) < 2 or not rows else ""
    return detail or f"rows {rows}{more}"


def _name(label: str | list[str]) -> str:
    return label if isinstance(label, str) else ", ".join(label) or "no label"
