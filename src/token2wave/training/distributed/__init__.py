"""Training on several devices: the processes that ``torchrun`` starts train one network together.

The first process leads: it reads the data, makes features, validates, writes and reports, by the same code as
in a run of one process. The others follow: they hold a copy of the network and of the training texts as
features, and take every step together with it (:mod:`token2wave.training.distributed.roles`). What is here
needs no torch, which a run of one process may do without.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from token2wave.errors import ConfigError

if TYPE_CHECKING:
    from token2wave.training.distributed.group import Group

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_leading: ContextVar[Group | None] = ContextVar("leading", default=None)


def is_started_together() -> bool:
    """Whether ``torchrun``, or a launcher that sets the same variables, has started this process."""
    if any(name not in os.environ for name in NEEDED):
        return False
    return n_processes() > 1 or "TORCHELASTIC_RUN_ID" in os.environ  # some clusters set the rest for one


def process() -> int:
    """Number of this process among those started together, from 0; the first one leads."""
    return _number("RANK") if "RANK" in os.environ and is_started_together() else 0


def n_processes() -> int:
    """How many processes were started together."""
    return _number("WORLD_SIZE") if "WORLD_SIZE" in os.environ else 1


def leading() -> Group | None:
    """The processes that this one leads in a training; None where it trains by itself."""
    return _leading.get()


def together(train: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let the processes that were started together call a training function as one.

    The first process runs it; the others follow its steps, and get what it gives.
    """

    @wraps(train)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if leading() is not None or not is_started_together():
            return train(*args, **kwargs)
        from token2wave.training.distributed.roles import run_together

        def lead(group: Group) -> Result:
            token = _leading.set(group)
            try:
                return train(*args, **kwargs)
            finally:
                _leading.reset(token)

        result: Result = run_together(lead, args, kwargs)
        return result

    return run


def require_one_process(purpose: str) -> None:
    """Refuse what every process would do by itself.

    Raises:
        ConfigError: several were started together.
    """
    if is_started_together() and n_processes() > 1:
        raise ConfigError(
            f"{purpose} takes one process, and {n_processes()} were started together",
            location="torchrun",
            hint="run it without torchrun",
        )


def _number(name: str) -> int:
    value = os.environ[name]
    if not (value.isascii() and value.isdecimal()):
        raise ConfigError(
            f"expected a number in the environment, found {value!r}",
            location=name,
            hint="start with torchrun, or unset it",
        )
    return int(value)
