"""The embedded preset."""
