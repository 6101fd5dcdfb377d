"""Web server of the live app: page, stream, API and metrics."""
