import numpy as np
import pytest

from paper.result_store import ResultStore
from paper.studies import convergence
from paper.study import Options
from paper.systems import probe_training, wave_system
from token2wave.training.loop import fit
from token2wave.training.validation import validate


def test_the_study_in_miniature(small, splits, tmp_path):
    document = convergence.measure(ResultStore(tmp_path), Options(splits, quick=True, seeds=(0, 1)))
    assert document["steps"] == [0, 10, 20, 30]
    assert set(document["fast"]) == {"wave-interference", "wave-modulation", "transformer-random"}
    for system in document["fast"].values():
        assert [len(run) for run in system["runs"]] == [4, 4]
        assert all(run[0] < 0.7 for run in system["runs"])  # untrained
        assert all(run[-1] > run[0] for run in system["runs"])  # the topics are easy
    fast, long = convergence.tables(document)
    assert fast.head[2:] == ["0 steps", "20 steps", "30 steps"]
    assert len(long.rows) == 3
    assert convergence.drawings(document).keys() == {"convergence", "long-run"}


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_probe_sees_the_network_as_it_is_after_so_many_steps(small, splits, epochs):
    """At a constant rate, and without dropout, one epoch of 12 steps is the beginning of two."""
    data = Options(splits).load()  # 192 rows, 12 steps of 16
    system = wave_system("modulation", unregularised=True)
    accuracies = probe_training(
        ResultStore(), system, data, 0, 20, 12, lambda network, step: (step, validate(network, data.test)[1])
    )
    network = system.build(data, 0)
    if epochs:
        recipe = system.recipe.replace(epochs=epochs)
        fit(network, data.train.take(np.arange(192)), None, recipe, seed=0, has_cls=True)
    assert len(accuracies) == 2
    assert accuracies[epochs] == (12 * epochs, validate(network, data.test)[1])
