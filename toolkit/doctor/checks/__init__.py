"""Checks of this machine, one per module, each with a CHECK."""
