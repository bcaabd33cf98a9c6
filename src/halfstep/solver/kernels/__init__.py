"""Compiled arithmetic on arrays: serial, without the GIL, written in place, an integer status out.

A kernel knows no users, items, ratings, threads or files. Each has a naive float64 twin in the tests.
"""
