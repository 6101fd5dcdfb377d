"""A bundle onto a device, so that the old release or the new one serves whole, never neither."""
