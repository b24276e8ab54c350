"""One step of back-propagation, worked through: what is told, and a renderer for each format."""
