"""Fuzz every way in which foreign bytes enter the package.

* ``python -m fuzzing.guided``: coverage-guided fuzzing of the functions in ``targets.py`` (atheris).
* ``python -m fuzzing.run_cases``: random cases of damaged model files and hostile texts (``cases.py``).
* ``python -m fuzzing.renew``: writes the corpora of files anew after a change of their format.

All run with ``tools`` on the Python path. ``make fuzz`` runs the first two.
"""
