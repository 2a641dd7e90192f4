"""Time and memory: how they grow, and what training takes."""
