"""Settings that hold for all tests."""

from hypothesis import settings

# The time of a test says something about the machine, not about the code: no deadline.
settings.register_profile("harness", deadline=None)
settings.load_profile("harness")
