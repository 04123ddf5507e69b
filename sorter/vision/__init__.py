"""A picture becomes a decision."""
