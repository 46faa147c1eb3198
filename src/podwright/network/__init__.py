"""Pod networking: pinned namespaces, and what CNI plugins do in them."""
