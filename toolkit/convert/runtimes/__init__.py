"""Older OpenVINO releases and compilers, run beside the current runtime."""
