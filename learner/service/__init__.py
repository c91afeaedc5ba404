"""The service: a model on Redis."""
