"""Older OpenVINO releases and compilers, run in addition to the current runtime."""
