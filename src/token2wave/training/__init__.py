"""Training: the loop, optimisers, recipes, figures of merit and the report."""
