"""Drift of a camera without labels: its images and answers against those of its own past; off unless asked for."""
