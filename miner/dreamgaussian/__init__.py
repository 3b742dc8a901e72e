"""DreamGaussian: Gaussians fitted to a picture or prompt by asking a diffusion model."""
