"""Reports of training runs: records, terminal lines, figures and an HTML page."""
