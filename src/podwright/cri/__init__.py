"""The surface: CRI v1 over gRPC. It validates requests, calls the backend and renders answers; it owns no work."""
