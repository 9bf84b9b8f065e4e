"""Text in, records out: no images, no torch."""
