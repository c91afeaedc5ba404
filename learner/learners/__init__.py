"""Learners: Python around the compiled loops."""
