"""A decision becomes a movement."""
