"""Watching, deciding and moving, joined for years."""
