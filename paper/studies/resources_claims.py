"""Verdicts of the study of resources."""

from __future__ import annotations

from collections.abc import Iterator

from paper.claim import Claim, describe_values, verdict_of
from paper.published import published
from paper.study import Document
from paper.verdicts import OPEN


def judge(document: Document) -> Iterator[Claim]:
    """Whether training takes the published memory, and saves memory and time of BERT base's."""
    systems = {system["key"]: system for system in document["systems"] if system["added"] is not None}
    wave, bert = systems.get("wave-modulation"), systems.get("bert-base")
    sizes = [row.gigabytes for row in published("wave-modulation", document["data"]) if row.gigabytes]
    if wave is None or not sizes:
        return
    gigabytes = {
        "measured peak": wave["added"] / 1e9,
        "steady state": wave["steady_state"] / 1e9,
        "parameters x 12 bytes": wave["papers_figure"] / 1e9,
    }
    is_video = document["device"] == "cuda"
    nearest = min(gigabytes, key=lambda name: abs(gigabytes[name] - sizes[0]))
    yield Claim(
        f"Training a Wave network takes {sizes[0]} GB ({document['data']})",
        verdict_of(nearest == "measured peak") if is_video else OPEN,
        f"{describe_values(gigabytes, '.2f', ' GB')}{'' if is_video else '; resident memory of a processor'}",
        "of these the measured peak is nearest to the published figure; theirs is video memory, so a "
        "processor's cannot tell",
        out_of_reach=not is_video,
    )
    if bert is not None:
        memory, time = (100 * (1 - wave[key] / bert[key]) for key in ("added", "epoch_seconds"))
        yield Claim(
            "Wave saves three quarters of BERT base's memory and five sixths of its time "
            f"({document['data']})",
            verdict_of(memory >= 75 and time >= 83) if is_video else OPEN,
            f"{memory:.1f} % of the added memory and {time:.1f} % of the time of an epoch, in float32, on "
            f"{'a graphics card' if is_video else 'a processor, whose memory is not theirs'}",
            "at least 75 % and 83 %; theirs is video memory, so a processor's cannot tell",
            out_of_reach=not is_video,
        )
