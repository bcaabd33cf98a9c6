"""What is minimized: objectives, regularization, and the problem that a half-step solves."""
