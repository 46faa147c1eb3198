"""The CRI v1 messages and gRPC stubs, generated from proto/ by `make proto`, and those of Podwright's own service.

Vocabulary of the surfaces and the domain (cri, sandbox, container, image, cli); drivers never import it. Nothing
here is written by hand: `api_pb2` and `api_pb2_grpc` hold package runtime.v1, `podwright_pb2` and
`podwright_pb2_grpc` hold package podwright.v1.
"""
