"""Results in, tables and pictures out. Never fits anything."""
