"""From predicted vectors to pictures."""
