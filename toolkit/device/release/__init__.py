"""Receive, verify and activate releases on a device."""
