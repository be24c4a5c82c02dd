"""The window: a napari plugin, and ``osteon gui``. Nothing else in osteon imports napari or Qt.

``napari.yaml`` tells napari what there is. The widgets are thin: they fill in what a person
chooses and hand it to :mod:`osteon.workflows`, in a thread (predictions, evaluations) or in a
process of its own (fits), and show what comes back.
"""
