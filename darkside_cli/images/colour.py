"""Any Pillow mode to 8-bit RGB, without clipping what has more bits and without losing what colours mean."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from darkside_cli.errors import ImageError

FloatImage = NDArray[np.float32]
Pixels = NDArray[np.uint8]

# Tags of TIFF and the one value of the second that is of interest here.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _MIN_IS_WHITE = 258, 262, 0


@dataclass(frozen=True)
class Colour:
    """``rgb`` (mode RGB), ``alpha`` (mode L; None: opaque) and the ICC profile of ``rgb`` (None: sRGB)."""

    rgb: Image.Image
    alpha: Image.Image | None
    icc_profile: bytes | None


def to_rgb(image: Image.Image) -> Colour:
    """8-bit RGB of a *loaded* image of any mode, not yet turned upright.

    - 1, L, LA, P, PA, RGB, RGBA, RGBX, YCbCr, HSV: exactly Pillow's conversion. Colours under transparent
      pixels stay as they are. An RGB ICC profile stays the image's own; grey ones are converted to sRGB.
    - CMYK and LAB: through the embedded ICC profile to sRGB (relative colorimetric, black point
      compensation); CMYK without one by Pillow's formula, LAB without one as CIE L*a*b* D50. The result
      carries no profile.
    - 16-bit grey (I;16*, and I with values to 65535): value / 257, rounded. The scale is the file format's
      and never guessed from the values: 12-bit TIFFs are scaled by 4095, but 12-bit values that a camera
      stored in 16-bit fields come out as dark as every viewer shows them.
    - I beyond 0..65535: ImageError, as there is no agreed scale.
    - F: values to 1 (with highlights up to 2, clipped) are taken as 0..1, to 255 and to 65535 as 8 and 16
      bits; negative ones are black. NaN, infinite and larger ones: ImageError.

    Raises ImageError for modes and values that have no meaning as an image.
    """
    profile = image.info.get("icc_profile") or None
    image, alpha = _without_alpha(_eight_bits(image))
    # The colour space that the profile is for, from its header (ICC.1:2022, 7.2.8).
    space = bytes(profile[16:20]) if isinstance(profile, bytes) else b""
    mode = image.mode
    if mode == "CMYK":
        return Colour(_through_profile(image, profile if space == b"CMYK" else None), alpha, None)
    if mode == "LAB":
        return Colour(_through_profile(image, profile if space == b"Lab " else _lab_profile()), alpha, None)
    if space == b"GRAY":
        return Colour(_through_profile(image.convert("L"), profile), alpha, None)
    try:
        rgb = image if mode == "RGB" else image.convert("RGB")  # which would copy it
    except ValueError as error:
        raise ImageError(f"its pixels are of a kind that cannot be shown (mode {mode})") from error
    return Colour(rgb, alpha, profile if space == b"RGB " else None)


def _without_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours and alpha apart, for the modes and the "transparency" entry (PNG, GIF) that mean alpha."""
    if image.mode in ("La", "RGBa"):  # premultiplied
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if image.mode == "LA":
        return image.getchannel("L"), image.getchannel("A")
    keyed = "transparency" in image.info and image.mode in ("1", "L", "P", "RGB")
    if not keyed and image.mode not in ("PA", "RGBA"):
        return image, None
    if image.mode == "1" and image.info["transparency"]:
        image.info["transparency"] = 255  # older Pillows count a bit as 1 here, and as 255 among the pixels
    rgba = image.convert("RGBA")
    colour = image if image.mode in ("1", "L") else rgba.convert("RGB")
    return colour, rgba.getchannel("A")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits as L (LA where one value is keyed transparent); other modes as they are."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    values: NDArray[Any] = np.asarray(image)
    tags: dict[int, Any] = getattr(image, "tag_v2", {})
    if image.mode == "F":
        grey = _from_float(values)
    else:
        if image.mode == "I" and (int(values.min()) < 0 or int(values.max()) > 65535):
            raise ImageError(
                "its 32-bit values have no agreed brightness", hint="convert it to 16 bits first"
            )
        white = 4095 if tags.get(_BITS_PER_SAMPLE) in (12, (12,)) else 65535
        # Table from 0..65535 to round(value * 255 / white), which is value / 257 for 16 bits.
        levels = (np.arange(65536, dtype=np.int64) * 255 + white // 2) // white
        grey = np.minimum(levels, 255).astype(np.uint8)[values]
    if tags.get(_PHOTOMETRIC) == _MIN_IS_WHITE:  # Pillow sees to that for 8 bits and less only
        grey = 255 - grey
    result = Image.fromarray(grey)
    key = image.info.get("transparency")
    if isinstance(key, int):
        result.putalpha(Image.fromarray(np.where(values == key, np.uint8(0), np.uint8(255))))
    if "icc_profile" in image.info:
        result.info["icc_profile"] = image.info["icc_profile"]
    return result


def _from_float(values: FloatImage) -> Pixels:
    peak = float(values.max())
    if not np.isfinite(values).all() or peak >= 65536:
        raise ImageError("its floating-point values are no brightness", hint="scale them to 0..1 first")
    white = 1 if peak < 2 else 255 if peak < 256 else 65535
    levels: Pixels = np.rint(np.clip(values * (255 / white), 0, 255)).astype(np.uint8)
    return levels


def _lab_profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def _through_profile(image: Image.Image, profile: bytes | None) -> Image.Image:
    """``image`` from ``profile`` to sRGB; by Pillow's formula if there is no profile or it is damaged."""
    if profile is not None:
        # Not at the top: few photographs need it, and Pillow can be built without LittleCMS.
        from PIL import ImageCms

        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except (ImageCms.PyCMSError, ImportError, OSError, ValueError):
            pass
        else:
            if converted is not None:
                return converted
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise ImageError(f"its {image.mode} colours cannot be converted to RGB") from error
