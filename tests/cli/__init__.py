"""Tests of `cli`, in one process."""
