"""Decoding a stream as it arrives."""
