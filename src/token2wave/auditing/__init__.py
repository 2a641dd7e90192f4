"""Audits labelled texts: wrong labels, contradictions, leaks, odd texts, and what would help."""
