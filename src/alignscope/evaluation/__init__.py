"""Measures: choices, retrieval, intervals."""
