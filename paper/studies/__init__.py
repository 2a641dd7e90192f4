"""The studies of the papers' claims; each measures data, and makes tables, figures and verdicts of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from token2wave.errors import ConfigError

if TYPE_CHECKING:
    from paper.study import Study

STUDIES = (
    "convergence",
    "gradients",
    "independence",
    "complexity",
    "resources",
    "ablations",
    "depth",
    "phase",
    "pairs",
    "batch_and_length",
    "probes",
    "word_order",
)
"""Names of the studies and of their modules, in the order of the report."""


def load_study(name: str) -> Study:
    """Import a study.

    Raises:
        ConfigError: there is no study of that name.
    """
    if name not in STUDIES:
        raise ConfigError(f"expected one of {', '.join(STUDIES)}, found {name!r}", location="study")
    study: Study = import_module(f"paper.studies.{name}").STUDY
    return study
