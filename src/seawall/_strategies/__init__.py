"""The strategies: siblings that know the core and not one another."""
