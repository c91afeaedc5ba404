"""A streaming sparse linear learner service on Redis."""
