"""Scores of webdataset shards, by one process, several, or a Ray cluster."""
