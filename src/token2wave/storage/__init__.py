"""Model files, encoded arrays and atomic writes."""
