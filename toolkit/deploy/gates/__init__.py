"""The gates that a release must pass on a device."""
