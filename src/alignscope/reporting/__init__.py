"""Records in, files out; never torch."""
