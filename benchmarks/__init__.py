"""Timings and comparisons; each module is run by itself and prints what it measured."""
