"""Bayesian matrix factorization: a Gibbs sampler whose rows are half-steps with noise."""
