"""imported."""
