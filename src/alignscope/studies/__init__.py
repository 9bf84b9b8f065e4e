"""Whole questions: the only room that puts rooms together."""
