"""The procedural world: signed-distance objects, their colours, their captions, and a ray marcher."""
