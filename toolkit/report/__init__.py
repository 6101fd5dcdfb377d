"""One page that answers which model to ship, on which device, and whether to trust it; CSV and Markdown beside it."""
