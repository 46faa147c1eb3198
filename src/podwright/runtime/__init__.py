"""Drivers of OCI runtimes: programs that make a container out of a bundle. `base.py` tells the life cycle."""
