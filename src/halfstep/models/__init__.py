"""Models: alternating least squares, its incremental updates, SGD and baselines."""
