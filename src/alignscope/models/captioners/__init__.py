"""Models that write about an image: captioners that are trained and sampled, and generators as scorers of a text."""
