"""Draws what scans are made from: kinds of scenes, their bones, and what happened to these."""

from osteon.simulation.drawing.kinds import KINDS, kind_of
from osteon.simulation.drawing.scenes import draw_scene

__all__ = ["KINDS", "draw_scene", "kind_of"]
