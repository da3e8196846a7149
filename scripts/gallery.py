"""A contact sheet of all views of a run, in two sizes and on two backgrounds.

    python scripts/gallery.py RUN OUT_FOLDER [--sheet docs/gallery.png]

Renders every view at 1280 x 720 and 1920 x 1080 on white, and at 1280 x 720 on dark, into OUT_FOLDER, and
puts those of the first kind on one sheet. Look at each of them before a release.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from PIL import Image, ImageDraw
from tensorview_insitu.paraview_states.settings import Settings

from tensorview_insitu.cli.render import render

KINDS = {
    "white_720": ((1280, 720), Settings()),
    "white_1080": ((1920, 1080), Settings()),
    "dark_720": ((1280, 720), Settings(background="dark")),
}
_THUMBNAIL = (640, 360)
_COLUMNS = 3
_TITLE = 22


def sheet(pictures: list[tuple[str, Path]], file: Path, columns: int = _COLUMNS) -> None:
    """Put pictures on one sheet, each with its title above."""
    width, height = _THUMBNAIL
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * (width + 8) + 8, rows * (height + _TITLE + 8) + 8), "#d8d8d8")
    draw = ImageDraw.Draw(page)
    for number, (title, picture) in enumerate(pictures):
        x = 8 + number % columns * (width + 8)
        y = 8 + number // columns * (height + _TITLE + 8)
        draw.text((x + 4, y + 3), title, fill="#222222", font_size=15)
        with Image.open(picture) as image:
            small = image.convert("RGB").resize(_THUMBNAIL, Image.Resampling.LANCZOS)
        page.paste(small, (x, y + _TITLE))
    file.parent.mkdir(parents=True, exist_ok=True)
    page.save(file, optimize=True)


def main() -> None:
    """Render everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="the folder of a run")
    parser.add_argument("out", type=Path, help="where the pictures go")
    parser.add_argument("--sheet", type=Path, help="the contact sheet (default: OUT/gallery.png)")
    options = parser.parse_args()
    for kind, (size, settings) in KINDS.items():
        folder = options.out / kind
        folder.mkdir(parents=True, exist_ok=True)
        for picture in render(options.run, size=size, settings=settings):
            shutil.copyfile(picture, folder / picture.name)
            print(folder / picture.name, flush=True)
        made = [(path.stem, path) for path in sorted(folder.glob("*.png"))]
        sheet(made, options.out / f"{kind}.png")
    file = options.sheet or options.out / "gallery.png"
    shutil.copyfile(options.out / "white_720.png", file)
    # The states are left as they are by default.
    render(options.run, ["dashboard"], settings=Settings())
    print(file)


if __name__ == "__main__":
    main()
