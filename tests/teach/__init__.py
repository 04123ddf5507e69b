"""Tests of `sorter.teach`."""
