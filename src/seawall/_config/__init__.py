"""Policies as data: TOML or a dictionary, made into pipelines by the same constructors as in code."""
