"""A world of pictures, and simulated brains that look at them."""
