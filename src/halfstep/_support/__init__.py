"""Helpers that know nothing of matrix factorization: checks of arguments, files, compilation, notebooks."""
