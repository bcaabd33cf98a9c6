"""Tests of clusters: a package, with whose last test its cluster ends."""
