"""Decoding a running stream, sample by sample, and the page that shows it."""
