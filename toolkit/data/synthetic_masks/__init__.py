"""The synthetic mask data set."""
