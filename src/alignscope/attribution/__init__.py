"""Which words a score listens to."""
