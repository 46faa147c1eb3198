"""Chain ids: the name of a stack of layers. Pure; OCI image-spec, config.md, "Layer ChainID"."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def chain_id(diff_ids: Sequence[str]) -> str:
    """The id of the stack of layers `diff_ids`, lowest first; '' for no layer at all."""
    return chain_ids(diff_ids)[-1] if diff_ids else ""


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """The ids of all prefixes: the first is the lowest layer's diff id, the last names the whole stack."""
    chain: list[str] = []
    for diff_id in diff_ids:
        if chain:
            text = f"{chain[-1]} {diff_id}".encode()
            chain.append("sha256:" + hashlib.sha256(text).hexdigest())
        else:
            chain.append(diff_id)
    return chain
