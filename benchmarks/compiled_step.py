r"""Does ``torch.compile`` make a step of preset ``paper`` faster? The same step plain and compiled, in turns.

    python benchmarks/compiled_step.py --device cuda             # on a machine with a GPU
    python benchmarks/compiled_step.py                           # on the processor, some minutes
    python benchmarks/compiled_step.py --width 16 --rows 500 --runs 2

Two things are compiled: the whole network; and the sums over texts alone, written so that inductor makes one
kernel of each (:class:`CompiledSums`). On a GPU inductor writes Triton, on a processor C++. First each side's
losses and gradients are compared with those of the plain step; a side that differs, or that torch cannot
compile, ends the benchmark. The last line printed is a JSON document.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from measuring import command_line, describe_origin, spread
from paper_step import Setting, make_batches, make_setting
from torch import Tensor
from torch.autograd.function import once_differentiable

from token2wave.errors import Token2WaveError
from token2wave.models import Batch, WaveNetwork
from token2wave.training.optim import Optimizers
from token2wave.waves import Wave, segment_ids

WARM_UP = 3
TOLERANCE = 1e-4
"""Largest difference of losses and gradients, relative to the largest entry: float32 in another order."""


def padded_index(index: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Lay segments of an index side by side.

    Args:
        index: ``(T,)`` int64.
        offsets: ``(S + 1,)`` int64.

    Returns:
        ``(S, L)`` int64 for segments of at most ``L`` entries, and ``(S, L)`` bool, false for padding.
    """
    longest = int(offsets.diff().max()) if offsets.numel() > 1 else 0
    positions = offsets[:-1, None] + torch.arange(longest, device=offsets.device)
    mask = positions < offsets[1:, None]
    return index[torch.where(mask, positions, 0)], mask


def root_of_energies(values: Tensor, index: Tensor, mask: Tensor) -> Tensor:
    """Root of the sum of squares over segments, ``(S, D)``. Compiled, no ``(S, L, D)`` tensor is made."""
    return torch.where(mask[..., None], values[index].square(), 0).sum(dim=1).sqrt()


def scaled_sums(values: Tensor, per_text: Tensor, index: Tensor, mask: Tensor) -> Tensor:
    """``values`` ``(U, D)`` times the sum of ``per_text[index]`` over segments, ``(U, D)``."""
    return torch.where(mask[..., None], per_text[index], 0).sum(dim=1) * values


class CompiledSums:
    """:func:`token2wave.waves.first_token_wave` whose sums and elementwise steps are one kernel each.

    ``embedding_bag``, which the library takes, is a kernel that inductor cannot join with others. A sum over
    one padded dimension can be joined; and unlike ``index_add`` it adds in the same order every time.

    Args:
        compiled: whether to compile; else the same functions run plainly, as a slow twin.
    """

    def __init__(self, compiled: bool = True) -> None:
        compiler: Callable[..., Any] = torch.compile if compiled else lambda function, **_: function
        self.root_of_energies = compiler(root_of_energies, dynamic=True, fullgraph=True)
        self.scaled_sums = compiler(scaled_sums, dynamic=True, fullgraph=True)

    def __call__(self, values: Tensor, index: Tensor, offsets: Tensor) -> Wave:
        """Wave of [CLS] of each text, ``(B, D)``; no text is empty."""
        return Wave(*_CompiledWave.apply(values, index, offsets, self))  # type: ignore[no-untyped-call]


class _CompiledWave(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, index: Tensor, offsets: Tensor, sums: CompiledSums
    ) -> tuple[Tensor, Tensor]:
        others, mask = padded_index(index, offsets)
        roots = sums.root_of_energies(values, others[:, 1:], mask[:, 1:])
        ctx.save_for_backward(values, index, offsets, roots)
        ctx.sums = sums
        return values.index_select(0, index[offsets[:-1]]), roots

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        values, index, offsets, roots = ctx.saved_tensors
        n_texts, first = roots.shape[0], offsets[:-1]
        ratio = torch.where(roots > 0, gradients[1] / roots, torch.zeros_like(roots))
        texts = segment_ids(offsets, index.shape[0])
        texts[first] = n_texts  # a row of zeros
        sorted_index, order = index.sort(stable=True)
        bounds = torch.searchsorted(sorted_index, torch.arange(values.shape[0] + 1, device=index.device))
        places, mask = padded_index(texts[order], bounds)
        per_text = torch.cat([ratio, ratio.new_zeros(1, ratio.shape[1])])
        result = ctx.sums.scaled_sums(values, per_text, places, mask)
        return result.index_add_(0, index[first], gradients[0]), None, None, None


class Side:
    """A network with its optimisers, plain or compiled, that trains on the preset's batches."""

    def __init__(self, setting: Setting, compiled: str, device: torch.device) -> None:
        self.setting, self.device = setting, device
        self.network: WaveNetwork = setting.initial().to(device).train()
        self.logits: Callable[[Tensor, Batch], Tensor] = self.network.of_embedded
        if compiled == "network":
            self.logits = torch.compile(self.network.of_embedded, dynamic=True)
        elif compiled == "sums":
            self.network.layers[0].readout = CompiledSums()
        self.optimizers = Optimizers(self.network, setting.recipe, setting.n_steps)
        self.batches = make_batches(setting)

    def backward(self) -> Tensor:
        """The loss of the next batch, with the gradients of all parameters."""
        batch, labels = (each.to(self.device) for each in next(self.batches))
        loss = F.cross_entropy(self.logits(self.network.embedding(batch.rows), batch), labels)
        self.optimizers.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def step(self) -> tuple[float, float]:
        """Train on the next batch; return wall time and this process's time on processors, in seconds."""
        self._wait()
        start = time.perf_counter(), time.process_time()
        self.backward()
        self.optimizers.step()
        self._wait()
        return time.perf_counter() - start[0], time.process_time() - start[1]

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def largest_difference(plain: Side, other: Side) -> float:
    """Largest difference of loss and gradients on the next batch, relative to the largest of each.

    Raises:
        AssertionError: it is above ``TOLERANCE``.
    """
    pairs = [(plain.backward(), other.backward())]
    for own, their in zip(plain.network.parameters(), other.network.parameters(), strict=True):
        assert own.grad is not None
        assert their.grad is not None
        both = [p.grad.coalesce().values() if p.grad.is_sparse else p.grad for p in (own, their)]
        pairs.append((both[0], both[1]))
    difference = max(float((a - b).abs().max() / a.abs().max().clamp(min=1e-30)) for a, b in pairs)
    if not difference <= TOLERANCE:
        raise AssertionError(f"expected the gradients of the plain step, found {difference:.1e} between them")
    return difference


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, then measure in turns."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    setting = make_setting(options.data, options.rows, options.width, None, options.seed).in_float32()
    document: dict[str, Any] = {
        "command": command_line(__file__, arguments),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "network": setting.network.to_dict(),
        **describe_origin(options.threads),
        "sides": {},
    }
    sides = {"plain": Side(setting, "", device)}
    for name in options.compile:
        exact = setting.without_dropout()
        start = time.perf_counter()
        difference = largest_difference(Side(exact, "", device), Side(exact, name, device))
        side = sides[name] = Side(setting, name, device)
        for _ in range(WARM_UP):  # sizes change from batch to batch, and torch compiles again
            side.step()
        document["sides"][name] = {
            "largest_difference": difference,
            "seconds_to_compile": time.perf_counter() - start,
        }
    for _ in range(WARM_UP):
        sides["plain"].step()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for run in range(options.runs):
        for name in list(sides)[:: 1 if run % 2 == 0 else -1]:
            times[name].append(sides[name].step())
    for name, turns in times.items():
        record = document["sides"].setdefault(name, {})
        for clock, column in (("wall", 0), ("processor", 1)):
            record[f"{clock}_seconds"] = spread([turn[column] for turn in turns])
            ratios = [own[column] / plain[column] for own, plain in zip(turns, times["plain"], strict=True)]
            record[f"{clock}_ratio_to_plain"] = statistics.median(ratios)
    for name, record in document["sides"].items():
        print(
            f"{name}: {record['wall_seconds']['median'] * 1e3:.1f} ms a step, "
            f"{record['wall_ratio_to_plain']:.2f} times plain (processor time "
            f"{record['processor_ratio_to_plain']:.2f}), "
            f"{record.get('seconds_to_compile', 0):.0f} s to compile"
        )
    print(json.dumps(document))


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--runs", type=int, default=50, help="steps of each side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", default="ag_news")
    parser.add_argument("--rows", type=int, help="so many training rows at most")
    parser.add_argument("--width", type=int, help="of the network; by default that of the preset")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--compile", nargs="*", default=["network", "sums"], choices=("network", "sums"))
    return parser


if __name__ == "__main__":
    try:
        main()
    except Token2WaveError as error:
        sys.exit(f"error: {error}")
