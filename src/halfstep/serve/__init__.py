"""The HTTP service: recommendations from a model that learns from a durable log of events."""
