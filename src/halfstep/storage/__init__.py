"""One safe file for a fitted model: what it looks like, how it is written and how it is read.

The file is in the safetensors format: arrays one after the other, and a JSON header that says where each lies.
Nothing in it is ever run: there is no pickle, and names of classes are looked up in tables.

``container`` knows files and arrays, and distrusts both; ``ids`` makes arrays of ids and texts, ``values`` makes JSON
of parameters, and ``stored_model`` puts a model together. What a model can do, this room does not know.
"""

from halfstep.storage.container import Copies
from halfstep.storage.faults import corrupted, naming_the_file
from halfstep.storage.stored_model import StoredModel, read_model, write_model
from halfstep.storage.values import NotStored, construct

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
