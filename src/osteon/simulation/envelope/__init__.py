"""The periosteal envelope: the outer shape of a bone, and the signed distance from it."""

from osteon.simulation.envelope.distance import signed_distance
from osteon.simulation.envelope.shapes import inside_function
from osteon.simulation.envelope.spec import ArchSpec, EnvelopeSpec, Shape

__all__ = ["ArchSpec", "EnvelopeSpec", "Shape", "inside_function", "signed_distance"]
