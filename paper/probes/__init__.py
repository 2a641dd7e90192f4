"""Generated tasks with known structure: what a network can tell at all."""
