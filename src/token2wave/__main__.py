"""``python -m token2wave`` is the command ``token2wave``."""

from token2wave.cli.main import main

main()
