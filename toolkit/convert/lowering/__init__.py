"""Lower models to the operations and number ranges of older runtimes."""
