"""Readouts: how the response of each target is read from an image's features; one file each."""
