"""Pods: the verbs over sandbox records, one file a verb."""
