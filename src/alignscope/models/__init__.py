"""Models: the only room that knows transformers."""
