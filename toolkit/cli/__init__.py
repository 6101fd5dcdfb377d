"""One file per verb: it parses options, calls a stage and prints the result, without logic of its own."""
