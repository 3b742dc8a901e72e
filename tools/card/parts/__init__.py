"""The parts of the check, one file for each theme."""
