"""Snapshots: layers unpacked into directories, and container root file systems made of them."""
