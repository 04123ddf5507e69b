"""Outcomes become CSV, JSON lines and HTML."""
