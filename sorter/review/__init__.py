"""Unsure pictures get their label from a person, one key each, and become training data."""
