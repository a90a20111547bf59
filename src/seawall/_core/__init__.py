"""The ground floor: time, chance, errors, events and the seam between strategies. Standard library only."""
