"""Tests of commands as processes of their own."""
