"""Rasterisers and the pictures made with them."""
