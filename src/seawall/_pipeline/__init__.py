"""Pipelines: strategies linked once, in the order in which they are listed."""
