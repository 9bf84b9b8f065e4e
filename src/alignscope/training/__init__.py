"""Losses, loops and recipes."""
