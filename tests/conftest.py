"""What every test shares: how Hypothesis runs."""

from hypothesis import settings

# Examples are not timed: a busy machine is no failure of the code. What failed is printed so that it can be repeated.
settings.register_profile("seawall", deadline=None, print_blob=True)
settings.load_profile("seawall")
