"""One file per verb: each parses, calls, prints, and holds no logic."""
