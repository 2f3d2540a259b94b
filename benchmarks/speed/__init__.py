"""Measured comparisons: what a command costs beside its bare parts, or beside what one would write without us."""
