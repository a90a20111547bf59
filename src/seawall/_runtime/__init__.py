"""The runtime directory: what each worker of a service says of itself, and what all of them are told."""
