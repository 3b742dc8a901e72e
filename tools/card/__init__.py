"""One command that checks and measures on a card what was only planned for it."""
