"""Model files, in the safetensors format.

Files are not trusted, and contain no code or pickles. ``container`` reads and writes arrays and metadata, ``values``
converts parameters to JSON, and ``stored_model`` combines these.
"""

from halfstep._support.faults import corrupted, naming_the_file
from halfstep.models.storage.container import Copies
from halfstep.models.storage.stored_model import StoredModel, read_model, write_model
from halfstep.models.storage.values import NotStored, construct

__all__ = [
    "Copies",
    "NotStored",
    "StoredModel",
    "construct",
    "corrupted",
    "naming_the_file",
    "read_model",
    "write_model",
]
