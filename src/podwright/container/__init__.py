"""Containers: the verbs over container records, one file a verb."""
