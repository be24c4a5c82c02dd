"""Print the table of docs/networks.md: every architecture, counted by `osteon model list`."""

from __future__ import annotations

from osteon.cli.models import costs_of
from osteon.settings import load_settings
from osteon.settings.fitting import FitSettings
from osteon.tables.networks import ARCHITECTURES, dimensions_of, form

_ENCODER = "resnet18"
_VIT = "tu-vit_small_patch16_224"
_MODES = {2: "2D", 3: "3D"}
_PATCH = {2: 256, 3: 128}


def main() -> None:
    """Print the rows."""
    print(
        "| `network.architecture` | encoder | mode | million parameters | GFLOPs "
        "| activations, MiB | multiples of | sees |"
    )
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | --- |")
    for row in ARCHITECTURES:
        for dimensions in dimensions_of(row.name):
            encoder = _VIT if row.name == "dpt" else _ENCODER
            given = [
                f"network.architecture={row.name}",
                f"network.encoder={encoder}",
                f"mode={_MODES[dimensions]}",
                f"patches.size={_PATCH[dimensions]}",
            ]
            found = costs_of(load_settings(FitSettings, overrides=given), classes=3)
            print(
                f"| `{row.name}` "
                f"| {encoder if form(row.name, dimensions).encoder else '–'} "
                f"| {_MODES[dimensions]} "
                f"| {found['parameters'] / 1e6:.1f} "
                f"| {found['gflops']:.1f} "
                f"| {found['activation_bytes'] / 2**20:.0f} "
                f"| {found['divisor']} "
                f"| {'whole input' if found['global_context'] else 'surroundings'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
