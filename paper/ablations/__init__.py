"""Which parts of a Wave network earn their place."""
