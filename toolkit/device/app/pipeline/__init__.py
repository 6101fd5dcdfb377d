"""Stages from the camera to results, and the queues between them."""
