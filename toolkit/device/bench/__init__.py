"""Benchmarks on a device."""
