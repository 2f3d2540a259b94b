"""Features in, scores and thresholds out. Importing it never imports torch."""
