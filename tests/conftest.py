"""What all tests share."""

from hypothesis import settings

settings.register_profile("halfstep", deadline=None)  # the first example of many compiles a kernel
settings.load_profile("halfstep")
