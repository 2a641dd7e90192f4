"""Studies of the papers' claims: each gives data first, and draws its figures from that data alone."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from token2wave.errors import ConfigError

if TYPE_CHECKING:
    from paper.study import Study

STUDIES = {
    "convergence": "convergence",
    "gradients": "gradients.gradient_study",
    "independence": "independence",
    "complexity": "cost.complexity",
    "resources": "cost.resources",
    "ablations": "ablations.ablation_study",
    "probes": "probes.probe_study",
}
"""Names of the studies, in the order of reports, and the module of this package that holds each."""


def study_named(name: str) -> Study:
    """Look a study up.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in STUDIES:
        raise ConfigError(f"expected one of {', '.join(STUDIES)}, found {name!r}", location="study")
    return cast("Study", import_module(f"paper.{STUDIES[name]}").STUDY)
