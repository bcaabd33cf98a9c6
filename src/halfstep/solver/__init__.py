"""Half-steps: compiled kernels, their division into tasks, and the sessions that run them."""
