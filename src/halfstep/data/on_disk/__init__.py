"""Interactions in folders of memory-mapped arrays: their format, and how cells are sorted that memory cannot hold."""
