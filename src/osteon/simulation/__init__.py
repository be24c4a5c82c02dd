"""Micro-CT scans of procedural bones with exact labels."""
