"""A miner for a text-to-3D Bittensor subnet: prompts in, Gaussian splats out."""
