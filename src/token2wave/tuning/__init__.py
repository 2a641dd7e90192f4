"""Automatic tuning: settings found by trying them, judged by validation rows alone."""
