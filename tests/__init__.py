"""Tests on small real parts: a real IR, a real folder, a real SQLite file, a real pty."""
