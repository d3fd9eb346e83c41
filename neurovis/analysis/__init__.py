"""When, where and what: analyses of what was decoded."""
