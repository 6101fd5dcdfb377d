"""Imported models: read, checked, and then handled like trained ones."""
