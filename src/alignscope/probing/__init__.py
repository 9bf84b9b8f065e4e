"""What captions are like, and captions made to find out what a model scores: text in, records out."""
