"""Long runs, each a command of its own; CI runs them scaled down."""
