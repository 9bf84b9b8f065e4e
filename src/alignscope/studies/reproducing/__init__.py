"""The papers' studies as one: what they share, what of a user's data is there, their order."""
