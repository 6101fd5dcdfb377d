"""Metrics of single-label and multi-label models."""
