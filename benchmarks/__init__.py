"""`make bench`: what seawall costs, against its budgets and its peers."""
