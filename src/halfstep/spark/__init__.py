"""Fits and recommendations on Spark."""
