"""The effects of `podwright play`: images, volumes, sandboxes and containers, made in order and taken down again.

What to make is decided in `podwright.cli.manifest`; here it is done, through the CRI and in the state directory, which
is never the daemon's own.
"""
