"""Reproducible training of the embedded preset; never imported at run time."""
