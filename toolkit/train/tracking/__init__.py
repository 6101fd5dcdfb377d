"""Experiment tracking, with MLflow or none."""
