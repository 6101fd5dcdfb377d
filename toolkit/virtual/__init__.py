"""Devices that are not there: whole arm64 machines under QEMU, and the stick that may be plugged into them."""
