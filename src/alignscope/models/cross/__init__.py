"""Models that read an image and a text together."""
