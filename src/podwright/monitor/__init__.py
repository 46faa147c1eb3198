"""Drivers of monitors: the small process that stays with a container, keeps its log and learns its exit code."""
