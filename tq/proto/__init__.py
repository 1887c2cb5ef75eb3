"""The gRPC interfaces: two .proto files, and the modules `scripts/protos.py` makes of them."""
