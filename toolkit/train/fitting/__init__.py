"""Fitting: the epoch loop, its optimizer and checkpoints, the solver of linear heads, and calibration."""
