"""A folder becomes settled pictures, each once."""
