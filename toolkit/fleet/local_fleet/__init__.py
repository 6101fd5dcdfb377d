"""local_fleet."""
