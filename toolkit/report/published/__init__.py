"""Published results, shown beside ours."""
