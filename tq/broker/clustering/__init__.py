"""What makes several brokers one to their clients: who answers what, and how requests get to the leader."""
