"""What a scanner makes of a slice: by projection, by its effects on the image, and its output.

``projection`` projects and reconstructs; ``fast`` puts the same artefacts into the image
directly, for the training stream; ``window`` turns attenuation into the grey values of a file.
Import the module that is needed: ``fast`` starts without scikit-image.
"""
