"""Registries: the distribution API's client, its authorisation, mirrors, certificates, and the node's credentials."""
