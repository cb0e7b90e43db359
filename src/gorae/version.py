"""The project's version (YY.MM.PATCH) and the versions of the Engine API that it speaks."""

VERSION = "26.11.0"
API_VERSION = "1.56"
API_VERSION_MINIMUM = "1.24"
