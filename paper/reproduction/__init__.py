"""Both papers in one run, their figures beside ours, and what holds of their claims."""
