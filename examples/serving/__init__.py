"""What the reference systems have in common as programs: services on sockets of their own, a start and an end."""
