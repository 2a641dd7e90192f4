"""What ``doctor`` finds."""

from __future__ import annotations

from importlib import metadata

import pytest

import token2wave
from token2wave.cli import doctor_command

REQUIREMENTS = [
    "numpy>=1.26",
    'no-such-package>=15; extra == "parquet"',
    "numpy>=1; extra == 'excel'",
    'token2wave[parquet]; extra == "torch"',
    'no-such-torch[x]>=2; sys_platform != "win32" and extra == "torch"',
    'token2wave[excel,parquet,torch]; extra == "all"',
    'no-such-tool; extra == "dev"',
]


def test_the_answer(run_cli, model, monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda _: REQUIREMENTS)
    outcome = run_cli("doctor", model)
    assert (outcome.status, outcome.err) == (0, "")
    assert f"token2wave {token2wave.__version__}, " in outcome.out
    assert "[parquet]     needs no-such-package: pip install 'token2wave[parquet]'" in outcome.out
    assert f"model         {model} loads" in outcome.out
    document = run_cli("doctor", "--json").document
    assert document["extras"] == {
        "excel": [],
        "parquet": ["no-such-package"],
        "torch": ["no-such-package", "no-such-torch"],
    }
    assert document["versions"]["numpy"] == metadata.version("numpy")
    assert document["problems"] == []


def test_every_extra_is_listed(run_cli):
    assert run_cli("doctor", "--json").document["extras"]


def test_a_package_that_is_not_installed_has_no_metadata(run_cli, monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    assert run_cli("doctor", "--json").document["extras"] == {}


def test_what_is_broken_has_status_1(run_cli, monkeypatch, workplace):
    (workplace / "m.safetensors").write_text("no model")
    monkeypatch.setenv("TOKEN2WAVE_DATA", "nowhere")
    outcome = run_cli("doctor", "m.safetensors")
    assert outcome.status == 1
    assert "problem: TOKEN2WAVE_DATA: there is no folder nowhere" in outcome.out
    assert "problem: m.safetensors: " in outcome.out


@pytest.mark.parametrize(("variable", "expected"), [("0", "switched off"), (None, "not built")])
def test_a_missing_core_is_no_problem(run_cli, monkeypatch, variable, expected):
    if variable:
        monkeypatch.setenv("TOKEN2WAVE_NATIVE", variable)
    monkeypatch.setattr(doctor_command, "load_core", lambda: None)
    outcome = run_cli("doctor")
    assert outcome.status == 0
    assert f"native core   {expected}" in outcome.out
