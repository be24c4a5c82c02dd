"""Put a fitted model among those that osteon comes with, in half precision.

    python tools/ship_model.py RUN --name bone-pores --feature-px 2 24

RUN is the folder of a fit. The thickness range, in pixels, is the one whose bones the model was
fitted to; predictions of thicker bone see the scan reduced. docs/bone-pores.md is the model's card.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from osteon.model_file import Model, load_model, save_model
from osteon.tables.shipped import SUFFIX, shipped_folder

#: The largest file that is shipped.
LARGEST_MIB = 30


def main() -> None:
    """Read the arguments and write the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--feature-px", type=float, nargs=2, default=None)
    args = parser.parse_args()
    model = load_model(args.run / "model.safetensors")
    feature = None if args.feature_px is None else (args.feature_px[0], args.feature_px[1])
    spec = replace(model.spec, name=args.name, feature_px=feature)
    target = shipped_folder() / f"{args.name}{SUFFIX}"
    save_model(target, Model(spec, model.weights), half=True)
    size = target.stat().st_size / 2**20
    if size > LARGEST_MIB:
        target.unlink()
        raise SystemExit(f"{size:.1f} MiB is more than the {LARGEST_MIB} MiB that are shipped")
    print(f"{target}: {size:.1f} MiB, weights {load_model(target).spec.weights_sha256}")


if __name__ == "__main__":
    main()
