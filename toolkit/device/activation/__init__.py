"""Activation of releases: lock, verify, golden, speed, switch, health, restore, audit.

`activate` serves every path to a device: `session` for `toolkit deploy` over SSH, `delivery` for registries and USB drives.
"""
