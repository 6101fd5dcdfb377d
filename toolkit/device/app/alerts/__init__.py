"""Alerts of the live app: rules, and the sinks they are sent to."""
