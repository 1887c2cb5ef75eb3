"""The rustq library against real servers: Redis, RabbitMQ and tq's own broker."""
