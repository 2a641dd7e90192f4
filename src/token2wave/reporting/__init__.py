"""What a run reports: record, summary, figures, page."""
