"""Encoding models: what of a picture explains the response of each voxel, or of each sensor and time."""
