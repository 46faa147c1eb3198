"""Registries: the distribution API's client, its authorisation, mirrors and certificates, and the node's credentials."""
