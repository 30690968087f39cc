"""Mistakes of real ports, each as a patch of the class in transformers that a fixture is loaded into."""

from . import attention, ends, mlp, norm, rotary

FAULTS = {fault.id: fault for part in (attention, rotary, norm, mlp, ends) for fault in part.FAULTS}
