"""The pictures that the pages show, and the command that makes them anew."""
