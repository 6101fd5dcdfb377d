"""Models that were not trained here: read, checked and made like any other."""
