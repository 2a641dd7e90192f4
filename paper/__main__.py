"""Run the command line of the reproduction: ``python -m paper reproduce`` and ``python -m paper study``."""

from paper.commands import main

if __name__ == "__main__":
    main()
