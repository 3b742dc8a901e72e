"""The procedural world: signed-distance objects, colours, captions, and a ray marcher."""
