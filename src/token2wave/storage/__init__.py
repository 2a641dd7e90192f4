"""Files: model file, encoded arrays, atomic writes."""
