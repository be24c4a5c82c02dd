"""Trabeculae: rods along the edges and plates across the faces of a Voronoi mosaic.

The seeds of the mosaic are a body-centred lattice with jitter, stretched along the axis of the
bone; space is warped smoothly, so that rods and plates are curved. Rods are thin in the middle
and thick at the nodes, joints are filleted.
"""

from osteon.simulation.trabeculae.canvas import Canvas, capsule, plate
from osteon.simulation.trabeculae.network import draw_trabeculae
from osteon.simulation.trabeculae.spec import TrabecularSpec

__all__ = ["Canvas", "TrabecularSpec", "capsule", "draw_trabeculae", "plate"]
