"""Pulls from the registry on loopback: one big layer, and ten layers with ten thousand files; gzip and zstd."""

from __future__ import annotations

import os

from bench import images
from bench.measures.base import Ground
from bench.peers import Peer
from bench.registry import Registry
from bench.samples import Samples


class Pull:
    """Pull and remove each image of the set."""

    def __init__(self, ground: Ground, registry: Registry) -> None:
        self._ground, self._registry = ground, registry

    @property
    def rounds(self) -> int:
        return self._ground.scale.pulls

    def prepare(self, peer: Peer) -> None:
        """Nothing: the images are in the registry."""

    def once(self, peer: Peer, samples: Samples) -> None:
        """Pull each image into an empty store, with nobody's dirty pages left to write; then remove them."""
        peer.restart()
        peer.client.pull(self._ground.image)
        recipes = [recipe for recipe in images.PULLS if peer.pulls_zstd or recipe.compression != "zstd"]
        for recipe in recipes:
            reference = self._registry.reference(recipe)
            os.sync()
            with samples.timed(f"pull.{recipe.name}", peer.name):
                peer.client.pull(reference)
        for recipe in recipes:
            reference = self._registry.reference(recipe)
            with samples.timed(f"rmi.{recipe.name}", peer.name):
                peer.client.remove_image(reference)

    def finish(self, peer: Peer) -> None:
        """Nothing is kept."""
