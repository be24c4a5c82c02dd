"""The tables of choices, declared without importing what they stand for.

See ``docs/decisions/0001-tables-below-settings.md``.
"""
