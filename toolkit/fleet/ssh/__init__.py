"""Connections to devices over SSH."""
