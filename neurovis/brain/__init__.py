"""Brain towers, trained and closed-form: a component a file."""
