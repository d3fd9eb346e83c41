"""Training losses: a component a file."""
