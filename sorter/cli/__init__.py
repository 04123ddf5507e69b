"""Parse, wire, print; the one place where the rooms are composed."""
