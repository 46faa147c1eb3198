"""Blobs by digest: written once, verified while written, resumed when broken off, followed while they grow."""
