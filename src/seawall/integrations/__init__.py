"""Integrations: one package a third-party library, each to be imported by name."""
