"""Statistics, all pure: intervals, curves, rank tests, rates."""
