"""The gRPC door: `taskqueue.v1.TaskQueue`, reflection and health, and a place for other services on the same port."""
