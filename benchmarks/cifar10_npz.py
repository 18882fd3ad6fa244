"""Join the WebP sheets of a CIFAR-10 folder into one `.npz` that `kind = "arrays"` reads.

    python benchmarks/cifar10_npz.py FOLDER OUTPUT.npz

A sheet is 40 rows by 50 columns of 32 x 32 tiles, row by row; `labels.csv.gz` names the class of
every tile.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

ROWS, COLUMNS, SIDE = 40, 50, 32


def tiles(sheet: Path) -> np.ndarray:
    """The images of one sheet, `(2000, 32, 32, 3)` uint8."""
    pixels = np.asarray(Image.open(sheet).convert("RGB"))
    grid = pixels.reshape(ROWS, SIDE, COLUMNS, SIDE, 3).transpose(0, 2, 1, 3, 4)
    return grid.reshape(ROWS * COLUMNS, SIDE, SIDE, 3)


def labels(folder: Path) -> dict[str, np.ndarray]:
    """The labels of every sheet, by its file's stem (`train_00`)."""
    found: dict[str, dict[int, int]] = defaultdict(dict)
    with gzip.open(folder / "labels.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            sheet = f"{row['split']}_{int(row['sheet']):02}"
            found[sheet][int(row["index"])] = int(row["label"])
    return {
        sheet: np.array([by_index[i] for i in range(len(by_index))], dtype=np.uint8)
        for sheet, by_index in found.items()
    }


def main() -> None:
    """Write the file named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    sheets = labels(arguments.folder)
    arrays: dict[str, np.ndarray] = {}
    for split in ("train", "test"):
        names = sorted(name for name in sheets if name.startswith(split))
        images = [tiles(arguments.folder / f"{name}.webp") for name in names]
        arrays[f"x_{split}"] = np.concatenate(images)
        arrays[f"y_{split}"] = np.concatenate([sheets[name] for name in names])
    np.savez(arguments.output, allow_pickle=False, **arrays)
    print({key: array.shape for key, array in arrays.items()})


if __name__ == "__main__":
    main()
