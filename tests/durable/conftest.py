"""The stores, for every test of durable work."""

from tests.durable import engines

engine = engines.engine
