"""Pods: a sandbox container that holds the namespaces, in a network that is ours."""
