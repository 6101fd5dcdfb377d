"""container_images."""
