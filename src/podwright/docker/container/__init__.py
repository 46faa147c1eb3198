"""Containers: the verbs over container records, carried out by the engine."""
