"""TicketWave: the calling side of a ticket shop, kept up by seawall.

Five HTTP servers: a gateway for customers, the catalog, the booking service, and stand-ins for the payment providers
Stripe and PayPal. `policies.py` holds the figures, `payments.py` how money is taken once and only once, `lists.py` what
customers see while the catalog is away, `bare.py` the same two without seawall, to compare with.
"""
