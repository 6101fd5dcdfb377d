"""Older OpenVINO releases and the NCS2 compiler, run beside the current runtime."""
