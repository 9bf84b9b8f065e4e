"""Captions that a model loves (paper A): what is in them, what pleases, captioners paid by a score."""
