"""Three things added to alignscope from outside, one per file."""
