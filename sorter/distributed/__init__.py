"""The same rows from many machines: a Ray engine and pictures behind a URL, the `ray` extra."""
