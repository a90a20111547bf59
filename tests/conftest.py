"""What every test shares: how Hypothesis runs, and real servers for those that ask for them."""

from hypothesis import settings

from tests.servers import fixtures

postgresql_server = fixtures.postgresql_server
redis_server = fixtures.redis_server
rabbitmq_server = fixtures.rabbitmq_server
postgresql_database = fixtures.postgresql_database
redis_url = fixtures.redis_url
rabbitmq_url = fixtures.rabbitmq_url
back_to_normal = fixtures.back_to_normal

# Examples are not timed: a busy machine is no failure of the code. What failed is printed so that it can be repeated.
settings.register_profile("seawall", deadline=None, print_blob=True)
settings.load_profile("seawall")
