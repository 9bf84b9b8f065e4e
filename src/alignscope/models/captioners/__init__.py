"""Models that write about an image, as scorers: how likely they find a caption, or their "yes" to a question."""
