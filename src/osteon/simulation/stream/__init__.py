"""An endless stream of simulated slices with exact labels, fast enough to fit a network to.

A 2D short cut: bones are drawn in the slice, not in space. No two items share anatomy, contrast,
noise or resolution; sizes are in pixels, for a pixel is all that a network knows.
"""

from osteon.simulation.stream.items import Item, SimulatedPatches, SimulatedTiles, draw_item

__all__ = ["Item", "SimulatedPatches", "SimulatedTiles", "draw_item"]
