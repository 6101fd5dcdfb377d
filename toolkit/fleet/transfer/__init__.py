"""Transferring content-addressed files to devices."""
