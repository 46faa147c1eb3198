"""Who owns the containers: the verbs of the CRI in domain types, and the backends that implement them."""
