"""The stages from a prompt to a valid splat, and what joins them."""
