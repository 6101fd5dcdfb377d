"""Experiments: the TOML schema, the default recipe, learning-rate schedules, compute profiles."""
