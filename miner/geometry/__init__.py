"""Cameras, rotations, spherical harmonics and the Gaussians themselves."""
