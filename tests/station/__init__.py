"""Tests of `station`."""
