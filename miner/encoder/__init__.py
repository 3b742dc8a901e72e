"""Splat file formats, both ways: bytes to Gaussians and back."""
