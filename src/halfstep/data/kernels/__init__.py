"""Compiled loops over columns of ids."""
