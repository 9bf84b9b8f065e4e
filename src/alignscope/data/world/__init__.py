"""The built-in world: procedural scenes with full ground truth."""
