"""Tuning of compute profiles: `toolkit tune`."""
