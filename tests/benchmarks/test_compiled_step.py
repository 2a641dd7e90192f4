"""Sums that torch compiles, against the library's: values and gradients; a difference ends the benchmark."""

import json
import os
import shutil
import warnings

import compiled_step
import paper_step
import pytest
import torch

from token2wave.waves import first_token_wave

LENGTHS = [3, 1, 7, 2]


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("torch.compile needs a C++ compiler on a processor, and found none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own, in other releases
        yield
    torch._dynamo.reset()


def make_case():
    random = torch.Generator().manual_seed(0)
    offsets = torch.tensor([0, *torch.tensor(LENGTHS).cumsum(0).tolist()])
    index = torch.randint(1, 6, (int(offsets[-1]),), generator=random)
    index[offsets[:-1]] = 0  # [CLS]
    values = torch.randn(6, 16, generator=random)
    values[:, 3] = 0  # a dimension without energy
    return values, index, offsets


def wave_and_gradient(function, values, index, offsets):
    values = values.clone().requires_grad_()
    wave = function(values, index, offsets)
    weights = torch.linspace(-1, 1, wave.real.numel()).view_as(wave.real)
    (wave.real * weights + wave.imaginary * weights.flip(0)).sum().backward()
    return *(part.detach() for part in wave), values.grad


def assert_same_as_the_library(sums):
    values, index, offsets = make_case()
    for _ in range(2):
        expected = wave_and_gradient(first_token_wave, values, index, offsets)
        for own, other in zip(wave_and_gradient(sums, values, index, offsets), expected, strict=True):
            torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6)
        values, index, offsets = values[:5], index[: offsets[3]].clamp(max=4), offsets[:4]  # other sizes


def test_the_padded_sums_are_those_of_the_library():
    assert_same_as_the_library(compiled_step.CompiledSums(compiled=False))


def test_the_compiled_sums_are_those_of_the_library(compiler):
    assert_same_as_the_library(compiled_step.CompiledSums())


def test_a_difference_is_refused(monkeypatch):
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)
    setting = paper_step.make_setting("debian-sections", 80, 8, None, 0).without_dropout()
    plain, other = (compiled_step.Side(setting, "", torch.device("cpu")) for _ in range(2))
    assert compiled_step.largest_difference(plain, other) == 0
    with torch.no_grad():
        other.network.head.weight.mul_(1.01)
    with pytest.raises(AssertionError, match="expected the gradients of the plain step"):
        compiled_step.largest_difference(plain, other)


def test_the_document(monkeypatch, capsys, compiler):
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    compiled_step.main(
        ["--data", "debian-sections", "--rows", "150", "--width", "8", "--runs", "2", "--compile", "sums"]
    )
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["sides"]["sums"]["largest_difference"] < compiled_step.TOLERANCE
    assert document["sides"]["plain"]["wall_ratio_to_plain"] == 1
