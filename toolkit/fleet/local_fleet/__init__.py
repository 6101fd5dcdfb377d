"""The fleet of SSH servers on loopback ports."""
