"""Kernels of the half-step: compiled functions on arrays that release the GIL.

A kernel processes a range of rows in one thread, writes its results in place, and reports failures by an integer
status instead of an exception. Each has a float64 counterpart in dense NumPy in the tests.
"""
