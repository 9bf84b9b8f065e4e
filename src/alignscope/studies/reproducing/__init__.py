"""The papers' studies as one: what of a user's data is there, their order, their page."""
