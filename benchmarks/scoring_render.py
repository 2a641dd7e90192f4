"""Tables of ``benchmarks/scoring.py``: rates, kills, and what a billion documents would cost."""

from __future__ import annotations

from typing import Any, NamedTuple

from token2wave.formatting import count

BILLION = 10**9
PROCESSES = (1, 2, 10, 100, 1_000)
PART_SIZES = (32, 256)  # MB, as the model has them; the first is the default


class Price(NamedTuple):
    """List price of a virtual machine; what it rests on stands in ``docs/scaling.md``."""

    name: str
    vcpus: int
    dollars_an_hour: float


MACHINE = Price("c7i.xlarge", 4, 0.1785)


def _median(document: dict[str, Any], way: str, what: str) -> float:
    return float(document["rates"]["ways"][way][what]["median"])


def rates_table(document: dict[str, Any]) -> str:
    """Texts a second and processor time, beside the bare runtime."""
    rates = document["rates"]
    processes = f"{rates['threads']} processes"
    names = {
        "bare": f"the bare runtime, texts in memory, {rates['threads']} threads",
        "parquet": f"`score`, Parquet to Parquet, {processes}",
        "parquet, one process": "`score`, Parquet to Parquet, one process",
        "json lines": f"`score`, JSON lines to Parquet, {processes}",
    }
    lines = [
        "| | texts/s | beside the bare runtime | processor time a text | beside the bare runtime |",
        "|---|---:|---:|---:|---:|",
    ]
    bare, bare_time = _median(document, "bare", "rate"), _median(document, "bare", "microseconds")
    for way, name in names.items():
        rate, used = _median(document, way, "rate"), _median(document, way, "microseconds")
        shown = f"| {name} | {rate:,.0f} | {100 * rate / bare:.0f} % | {used:.1f} µs | "
        lines.append(f"{shown}{100 * bare_time / used:.0f} % |")
    one, both = (_median(document, way, "rate") for way in ("parquet, one process", "parquet"))
    turns = len(rates["ways"]["bare"]["rate"]["turns"])
    lines += [
        "",
        f"Medians of {turns} turns of {count(rates['documents'])} documents of "
        f"{rates['mean_characters']:.0f} characters on average ({count(rates['documents_as_json_lines'])} as "
        f"JSON lines), preset `{document['preset']}`, {document['machine']['processor']}. From one process "
        f"to {rates['threads']}: {both / one:.2f} times the rate.",
    ]
    return "\n".join(lines) + "\n"


def killed_table(document: dict[str, Any]) -> str:
    """What became of the job that was killed."""
    killed, often = document["killed"], document.get("killed_often")
    moments = killed["kills"]
    rows = [
        ("documents", count(killed["documents"])),
        ("input", f"{killed['input_bytes'] / 1e9:.1f} GB of Parquet"),
        ("killed, with all its processes", f"{len(moments)} times, at random moments"),
        ("parts that were there at each kill", ", ".join(str(one["parts"]) for one in moments)),
        ("rows written", count(killed["written"])),
        ("rows rejected, all of them broken", count(killed["rejected"])),
        ("rows missing", count(killed["missing"])),
        ("rows there more than once", count(killed["more_than_once"])),
        ("most memory of all processes together", f"{killed['peak_bytes_of_all_processes'] / 1e6:,.0f} MB"),
    ]
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    if often is not None:
        lines += [
            "",
            f"Besides, {often['jobs']} jobs of {count(often['documents_of_a_job'])} documents were killed "
            f"{often['kills']} times at any moment, {often['with_parts']} times of them with parts on the "
            "disk; no row was missing, and none there twice.",
        ]
    return "\n".join(lines) + "\n"


def cost_table(document: dict[str, Any]) -> str:
    """Time and money for a billion documents, from the rate of one process."""
    lines = [
        "| | processor time a text | texts of a core in an hour | core hours | dollars |",
        "|---|---:|---:|---:|---:|",
    ]
    for way, name in (
        ("parquet, one process", "Parquet to Parquet"),
        ("json lines", "JSON lines to Parquet"),
    ):
        microseconds = _median(document, way, "microseconds")
        hours = BILLION * microseconds / 1e6 / 3600
        dollars = hours * MACHINE.dollars_an_hour / MACHINE.vcpus
        cells = f"{microseconds:.1f} µs | {3600 / microseconds:,.0f} million | {hours:.1f} | {dollars:.2f}"
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines) + "\n"


def modelled(document: dict[str, Any], n_processes: int, part_bytes: float) -> tuple[float, float]:
    """Seconds and efficiency for a billion documents, by the model of ``docs/scaling.md``."""
    rates, fixed = document["rates"], document["fixed"]
    work = BILLION * _median(document, "parquet, one process", "microseconds") / 1e6
    n_parts = BILLION * rates["mean_characters"] / part_bytes
    a_part = work / n_parts
    seconds = max(work / n_processes + a_part / 2, n_parts * fixed["commit_seconds"]) + fixed["job_seconds"]
    return seconds, work / (n_processes * seconds)


def efficiency_table(document: dict[str, Any]) -> str:
    """Measured from one process to two, modelled beyond."""
    heads = [f"parts of {size} MB" for size in PART_SIZES]
    lines = [
        "| processes | " + " | ".join(f"{head}: time | efficiency" for head in heads) + " |",
        "|---:|" + "---:|---:|" * len(heads),
    ]
    for n in PROCESSES:
        cells = []
        for size in PART_SIZES:
            seconds, efficiency = modelled(document, n, size * 1e6)
            shown = f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{seconds / 60:.1f} min"
            cells += [shown, f"{100 * efficiency:.0f} %"]
        lines.append(f"| {n:,} | " + " | ".join(cells) + " |")
    rates, fixed = document["rates"], document["fixed"]
    one, both = (_median(document, way, "rate") for way in ("parquet, one process", "parquet"))
    lines += [
        "",
        f"Measured: {rates['threads']} processes score {both / one:.2f} times as many texts a second as "
        f"one, an efficiency of {100 * both / one / rates['threads']:.0f} %. Of the model, the job of one "
        f"document ({fixed['job_seconds']:.1f} s) and the recording of a part "
        f"({1000 * fixed['commit_seconds']:.0f} ms, on the disk of the machine that measured) are measured, "
        "too.",
    ]
    return "\n".join(lines) + "\n"
