"""The precision of training in torch: what ``auto`` chooses on which device."""

import pytest
import torch

from token2wave.training import torch_trainer


@pytest.mark.parametrize(("bfloat16", "expected"), [(True, "bfloat16"), (False, "float32")])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_automatic_choice(monkeypatch, bfloat16, expected, device):
    monkeypatch.setattr(torch_trainer, "has_bfloat16", lambda device: bfloat16)
    assert torch_trainer.precision_on(torch.device(device), "auto") == expected


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_that_is_named_is_taken(monkeypatch, precision):
    monkeypatch.setattr(torch_trainer, "has_bfloat16", lambda device: precision != "bfloat16")
    assert torch_trainer.precision_on(torch.device("cpu"), precision) == precision
