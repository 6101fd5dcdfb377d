"""Drift of a camera, detected without labels: its images and answers compared with its own past; off by default."""
