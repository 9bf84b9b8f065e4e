"""Public benchmarks: run, checked, compared with published numbers and with each other."""
