from dataclasses import replace

import numpy as np
import pytest

from paper.result_store import ResultStore
from paper.studies import convergence
from paper.study import Options
from paper.systems import wave_system
from token2wave.training.loop import fit
from token2wave.training.validation import validate


@pytest.fixture
def document(small, splits, tmp_path):
    return convergence.measure(ResultStore(tmp_path), Options(splits, quick=True, seeds=(0, 1)))


def test_curves_have_a_value_for_every_step(document):
    assert document["steps"] == [0, 10, 20, 30]
    assert set(document["fast"]) == {"wave-interference", "wave-modulation", "transformer-random"}
    for key, system in document["fast"].items():
        assert [len(run) for run in system["runs"]] == [4] * (1 if key == "transformer-random" else 2)
        assert all(run[0] < 0.7 for run in system["runs"])  # untrained
        assert all(run[-1] > run[0] for run in system["runs"])  # the topics are easy


def test_the_first_value_is_that_of_the_untrained_network(small, splits):
    options = Options(splits, quick=True)
    data = options.load(train_rows=30 * 64, test_rows=300)
    system = wave_system("modulation", bare=True)
    curve = convergence._measure_steps(ResultStore(), data, system, 0, 30)["test_accuracy"]
    assert curve[0] == validate(system.build(data, 0), data.test)[1]


def test_tables_and_figures_come_from_the_document(document):
    fast, long = convergence.tables(document)
    assert fast.head[2:] == ["0 steps", "20 steps", "30 steps"]
    assert len(long.rows) == 3
    assert convergence.drawings(document).keys() == {"convergence", "long-run"}


def test_a_value_on_the_way_is_that_of_a_run_that_ends_there(small, splits):
    """At a constant rate, and without dropout, one epoch of 12 steps is the beginning of two."""
    system = wave_system("modulation", bare=True)
    data = Options(splits).load()  # 192 rows, 12 steps of 16
    short = replace(system, recipe=system.recipe.replace(epochs=1))
    assert system.recipe.batch_size == 16
    curve = convergence._measure_steps(ResultStore(), data, system, 0, 20)["test_accuracy"]
    assert len(curve) == 3
    network = short.build(data, 0)
    fit(network, data.train.take(np.arange(192)), None, short.recipe, seed=0, has_cls=True)
    watched = convergence._TestEverySteps(data, 12)
    again = short.build(data, 0)
    fit(again, data.train, None, short.recipe, seed=0, has_cls=True, callbacks=[watched])
    assert watched.accuracy == curve[:2]
    assert validate(again, data.test) == validate(network, data.test)  # looking on changes nothing
