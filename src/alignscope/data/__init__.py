"""Data sets and their readers: items, never scores."""
