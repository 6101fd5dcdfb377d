"""Container images that releases run in, on the controller and on devices."""
