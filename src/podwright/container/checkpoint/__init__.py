"""Checkpoints: containers' processes and files, written while the containers are frozen, and brought back."""
