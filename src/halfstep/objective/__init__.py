"""Objectives, regularization, and the half-problems that half-steps solve."""
