"""What this machine provides: containers, packages, signatures, CPUs, confined processes."""
