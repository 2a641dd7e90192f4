"""Searches for better settings. Only validation rows decide."""
