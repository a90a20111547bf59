"""RabbitMQ through aio-pika: whether the broker answers."""

from seawall.integrations.rabbitmq.health import rabbitmq_check

__all__ = ["rabbitmq_check"]
