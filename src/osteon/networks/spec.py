"""The description that a network is built from, and built again from a model file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from osteon.errors import ModelFileError, UsageError
from osteon.networks.options import check_options, divisors, plan_options
from osteon.settings import NetworkSettings
from osteon.tables.encoders import ENCODERS
from osteon.tables.networks import (
    check_decoder,
    check_pair,
    check_patch,
    divisor_of,
    encoder_of,
    form,
)

#: A description with more channels than this is garbled: it would only exhaust the memory.
MOST_CHANNELS = 1024


@dataclass(frozen=True)
class NetworkSpec:
    """All that is needed to build a network again.

    Attributes:
        architecture: Name in the table of networks.
        encoder: Name in the table of encoders; empty for an architecture without one.
        in_channels: Channels of the input (1 in 2D and 3D, the number of slices in 2.5D).
        classes: Classes of the output.
        decoder_channels: Channels of the decoder's stages, deepest first; None: the
            architecture's own.
        dimensions: 2 for inputs (n, c, y, x), 3 for (n, c, z, y, x).
        options: What else the builder was given (strides per axis, size of the input, …): names
            to JSON-compatible values; see :mod:`osteon.networks.options`.
    """

    architecture: str
    encoder: str
    in_channels: int
    classes: int
    decoder_channels: tuple[int, ...] | None = None
    dimensions: int = 2
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_settings(
        cls,
        settings: NetworkSettings,
        *,
        in_channels: int,
        classes: int,
        dimensions: int = 2,
        patch: tuple[int, ...] | None = None,
        voxel_size: tuple[float | None, ...] | None = None,
    ) -> NetworkSpec:
        """Describe the network that settings ask for.

        Args:
            settings: The network settings.
            in_channels: Channels of the input.
            classes: Classes of the output.
            dimensions: 2 or 3.
            patch: Shape of a patch, (y, x) or (z, y, x), in voxels. Networks that are planned
                by it (DynUNet, UNETR) need it; the others are checked against it, if given.
            voxel_size: Voxel size in µm of the scans, (z, y, x), None where unknown: DynUNet's
                kernels and strides follow it. None: voxels are taken for cubes.

        Returns:
            The description.

        Raises:
            UsageError: If architecture, encoder, mode, decoder and patch do not go together.
        """
        architecture, encoder = settings.architecture, settings.encoder
        check_pair(architecture, encoder, dimensions, in_channels)
        check_decoder(architecture, settings.decoder_channels, dimensions=dimensions)
        if patch is not None:
            check_patch(architecture, encoder, patch)
        options: dict[str, Any] = {}
        if form(architecture, dimensions).planned:
            options = plan_options(architecture, patch, voxel_size)
        return cls(
            architecture,
            encoder_of(architecture, encoder, dimensions=dimensions),
            in_channels,
            classes,
            settings.decoder_channels,
            dimensions,
            options,
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> NetworkSpec:
        """Read a description from a model file.

        Args:
            data: What :meth:`as_dict` gave.

        Returns:
            The description.

        Raises:
            ModelFileError: If an entry is missing, unknown or of the wrong kind, or the network
                is not one that this version can build.
        """
        try:
            fields = dict(data)
            channels = fields.pop("decoder_channels")
            if not isinstance(channels, list | None):
                raise TypeError("decoder_channels is not a list")
            if not isinstance(fields.get("options", {}), dict):
                raise TypeError("options are not a mapping")
            if not (isinstance(fields["architecture"], str) and isinstance(fields["encoder"], str)):
                raise TypeError("architecture and encoder are not names")
            decoder = None if channels is None else tuple(channels)
            spec = cls(**fields, decoder_channels=decoder)  # type: ignore[arg-type]
            if type(spec.dimensions) is not int or spec.dimensions not in (2, 3):
                raise ValueError("a network has 2 or 3 dimensions")
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"the description of the network cannot be read: {error}"
            ) from error
        counts = (spec.in_channels, spec.classes, *(spec.decoder_channels or ()))
        if not all(type(n) is int and 0 < n <= MOST_CHANNELS for n in counts):
            raise ModelFileError("the network's channels or classes are out of range")
        spec.check()
        return spec

    def check(self) -> None:
        """Refuse a description that no network can be built from.

        Raises:
            ModelFileError: If names, dimensions, decoder or options do not go together.
        """
        try:
            check_pair(self.architecture, self.encoder, self.dimensions, self.in_channels)
            check_decoder(self.architecture, self.decoder_channels, dimensions=self.dimensions)
            named = encoder_of(self.architecture, self.encoder, dimensions=self.dimensions)
        except UsageError as error:
            raise ModelFileError(
                f"{error.what} in this version of osteon", mend="pip install --upgrade osteon"
            ) from error
        if bool(named) != bool(self.encoder):
            raise ModelFileError("the network's encoder is missing, or it can have none")
        check_options(self.architecture, self.options, dimensions=self.dimensions)

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-compatible description."""
        decoder = self.decoder_channels
        return {**asdict(self), "decoder_channels": None if decoder is None else list(decoder)}

    @property
    def divisor(self) -> int:
        """Height and width of an input must be multiples of this."""
        if "strides" in self.options:
            return max(divisors(self.options)[-2:])
        return divisor_of(self.architecture, self.encoder, dimensions=self.dimensions)

    @property
    def depth_divisor(self) -> int:
        """Depth of an input must be a multiple of this; 1 in 2D."""
        if self.dimensions == 2:
            return 1
        if "strides" in self.options:
            return divisors(self.options)[0]
        return divisor_of(self.architecture, self.encoder, dimensions=self.dimensions)

    @property
    def least(self) -> tuple[int, ...]:
        """Shortest sides of an input, ([z,] y, x), in voxels: multiples of the divisors."""
        step = self.divisor
        side = -(-form(self.architecture, self.dimensions).least // step) * step
        if "strides" in self.options:
            side = max(side, 2 * step)  # its instance norm needs more than one voxel, everywhere
        return (self.depth_divisor, side, side)[3 - self.dimensions :]

    @property
    def global_context(self) -> bool:
        """Whether a label may depend on the whole input, however large."""
        if form(self.architecture, self.dimensions).global_context:
            return True
        if not self.encoder:
            return False
        return cast(bool, ENCODERS.row(self.encoder).capabilities["global_context"])
