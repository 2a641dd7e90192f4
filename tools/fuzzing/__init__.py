"""Fuzz every way in which foreign bytes enter the package.

* ``python -m fuzzing.guided``: coverage-guided fuzzing of the functions in ``targets.py`` (atheris).
* ``python -m fuzzing.run_cases``: random cases of damaged model files and hostile texts (``cases.py``).

Both run with ``tools`` on the Python path. ``make fuzz`` runs both.
"""
