"""A whole station on nothing: bundled pictures, a real folder, a real journal, a simulated gate."""
