"""Make the picture of README and of the first page: samples by day, a simple recipe's nights, darkside-night's.

    python docs/pictures.py

The samples come with darkside; nothing was trained on them. The recipe is gamma and a blue tint.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from darkside_cli import load_generator
from darkside_cli.cli.images import sample_paths
from darkside_cli.methods.night_features import gamma_and_tint

WIDTH_PX, HEIGHT_PX, GAP_PX = 400, 300, 6
FILE = Path(__file__).parent / "pages" / "images" / "darkside-night.jpg"


def fitted(image: Image.Image) -> Image.Image:
    """The middle of ``image`` in the size of a tile."""
    factor = max(WIDTH_PX / image.width, HEIGHT_PX / image.height)
    size = round(image.width * factor), round(image.height * factor)
    left, top = (size[0] - WIDTH_PX) // 2, (size[1] - HEIGHT_PX) // 2
    large = image.resize(size, Image.Resampling.LANCZOS)
    return large.crop((left, top, left + WIDTH_PX, top + HEIGHT_PX))


def main() -> None:
    """Write the picture."""
    night = load_generator("darkside-night", device="cpu")
    days = [Image.open(path).convert("RGB") for path in sample_paths()]
    recipes = [Image.fromarray(gamma_and_tint(np.asarray(day))) for day in days]
    rows = [days, recipes, [night(day) for day in days]]
    columns = len(days)
    sheet = Image.new(
        "RGB",
        (columns * (WIDTH_PX + GAP_PX) - GAP_PX, len(rows) * (HEIGHT_PX + GAP_PX) - GAP_PX),
        "white",
    )
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            sheet.paste(fitted(image), (column * (WIDTH_PX + GAP_PX), row * (HEIGHT_PX + GAP_PX)))
    sheet.save(FILE, quality=88, optimize=True)


if __name__ == "__main__":
    main()
