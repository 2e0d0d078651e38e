from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from handmade_images import cmyk_profile, linear_grey_profile, png, png_chunk, tiff
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from darkside_cli.errors import ImageError
from darkside_cli.images.colour import to_rgb


def loaded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def saved(image: Image.Image, format: str, **options: object) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return loaded(buffer.getvalue())


def rgb_of(image: Image.Image) -> list[list[int]]:
    """Pixels of one row."""
    result = to_rgb(image).rgb
    assert result.mode == "RGB"
    return np.asarray(result)[0].tolist()


def grey_of(image: Image.Image) -> list[int]:
    pixels = np.array(rgb_of(image))
    assert (pixels == pixels[:, :1]).all()
    return pixels[:, 0].tolist()


def alpha_of(image: Image.Image) -> list[int] | None:
    alpha = to_rgb(image).alpha
    return None if alpha is None else np.asarray(alpha)[0].tolist()


def row(mode: str, *pixels: object) -> Image.Image:
    image = Image.new(mode, (len(pixels), 1))
    for x, pixel in enumerate(pixels):
        image.putpixel((x, 0), pixel)
    return image


def test_plain_modes_as_pillow_converts_them():
    assert grey_of(row("1", 0, 255)) == [0, 255]
    assert grey_of(row("L", 0, 77, 255)) == [0, 77, 255]
    assert rgb_of(row("RGB", (1, 2, 3))) == [[1, 2, 3]]
    assert rgb_of(row("RGBX", (1, 2, 3, 4))) == [[1, 2, 3]]
    assert alpha_of(row("RGBX", (1, 2, 3, 4))) is None
    assert rgb_of(row("HSV", (0, 255, 255), (85, 255, 255))) == [[255, 0, 0], [0, 255, 0]]
    assert grey_of(row("YCbCr", (128, 128, 128))) == [128]
    assert alpha_of(row("L", 5)) is None


def test_alpha_is_taken_off_and_colours_under_it_stay():
    assert grey_of(row("LA", (77, 0), (80, 9))) == [77, 80]
    assert alpha_of(row("LA", (77, 0), (80, 9))) == [0, 9]
    assert rgb_of(row("RGBA", (1, 2, 3, 0), (4, 5, 6, 255))) == [[1, 2, 3], [4, 5, 6]]
    assert alpha_of(row("RGBA", (1, 2, 3, 0), (4, 5, 6, 255))) == [0, 255]


def test_premultiplied_alpha_is_divided_out():
    image = Image.frombytes("RGBa", (1, 1), bytes([10, 20, 30, 128]))
    assert alpha_of(image) == [128]
    assert rgb_of(image)[0] == pytest.approx([10 * 255 / 128, 20 * 255 / 128, 30 * 255 / 128], abs=1)


def palette_image(mode: str = "P") -> Image.Image:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2])
    return image if mode == "P" else image.convert(mode)


def test_palette_without_transparency():
    image = saved(palette_image(), "PNG")
    assert image.mode == "P"
    assert rgb_of(image) == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    assert alpha_of(image) is None


def test_palette_with_one_transparent_colour():
    image = saved(palette_image(), "GIF", transparency=1)
    assert rgb_of(image) == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    assert alpha_of(image) == [255, 0, 255]


def test_palette_with_graded_transparency():
    image = saved(palette_image(), "PNG", transparency=bytes([0, 100, 255]))
    assert image.mode == "P"
    assert rgb_of(image) == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    assert alpha_of(image) == [0, 100, 255]


def test_palette_with_alpha_band():
    image = palette_image("PA")
    image.putalpha(Image.frombytes("L", (3, 1), bytes([1, 2, 3])))
    assert image.mode == "PA"
    assert rgb_of(image) == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    assert alpha_of(image) == [1, 2, 3]


def test_colour_keys_of_png():
    grey = loaded(png(3, 1, 8, 0, b"\0\x05\x06\x07", png_chunk(b"tRNS", b"\0\x06")))
    assert (grey_of(grey), alpha_of(grey)) == ([5, 6, 7], [255, 0, 255])
    bits = loaded(png(2, 1, 1, 0, b"\0\x40", png_chunk(b"tRNS", b"\0\x01")))
    assert (grey_of(bits), alpha_of(bits)) == ([0, 255], [255, 0])
    rgb = loaded(png(2, 1, 8, 2, b"\0\x01\x02\x03\x04\x05\x06", png_chunk(b"tRNS", b"\0\x04\0\x05\0\x06")))
    assert (rgb_of(rgb), alpha_of(rgb)) == ([[1, 2, 3], [4, 5, 6]], [255, 0])
    deep = loaded(
        png(3, 1, 16, 0, b"\0" + struct.pack(">3H", 0, 1000, 65535), png_chunk(b"tRNS", b"\x03\xe8"))
    )
    assert (grey_of(deep), alpha_of(deep)) == ([0, 4, 255], [255, 0, 255])


@given(values=st.lists(st.integers(0, 65535), min_size=1, max_size=50))
@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N", "I"])
def test_16_bit_grey_is_scaled_and_rounded(mode: str, values: list[int]):
    dtype = {"I;16B": ">u2", "I;16N": "=u2", "I": "=i4"}.get(mode, "<u2")
    image = Image.frombytes(mode, (len(values), 1), np.array(values, dtype).tobytes())
    assert grey_of(image) == [round(value / 257) for value in values]


def test_16_bit_files():
    values = struct.pack(">3H", 1000, 32768, 65535)
    expected = [4, 128, 255]
    assert grey_of(loaded(png(3, 1, 16, 0, b"\0" + values))) == expected
    assert grey_of(loaded(b"P5 3 1 65535\n" + values)) == expected
    assert grey_of(loaded(tiff(3, 1, [16], 1, values, order=">"))) == expected
    assert grey_of(loaded(tiff(3, 1, [16], 1, struct.pack("<3H", 1000, 32768, 65535)))) == expected
    assert grey_of(loaded(tiff(3, 1, [32], 1, struct.pack("<3I", 1000, 32768, 65535)))) == expected


def test_16_bit_colour_files():
    rgb = loaded(png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 0x0101, 0x8080, 0xFFFF)))
    assert rgb_of(rgb) == [[1, 128, 255]]
    rgba = loaded(png(1, 1, 16, 6, b"\0" + struct.pack(">4H", 0x0101, 0x8080, 0xFFFF, 0x4040)))
    assert (rgb_of(rgba), alpha_of(rgba)) == ([[1, 128, 255]], [64])
    grey_alpha = loaded(png(1, 1, 16, 4, b"\0" + struct.pack(">2H", 0x8080, 0x4040)))
    assert (grey_of(grey_alpha), alpha_of(grey_alpha)) == ([128], [64])
    assert rgb_of(loaded(tiff(1, 1, [16] * 3, 2, struct.pack("<3H", 0x0101, 0x8080, 0xFFFF)))) == [
        [1, 128, 255]
    ]


def test_tiff_where_the_smallest_value_is_white():
    assert grey_of(loaded(tiff(2, 1, [8], 0, bytes([10, 255])))) == [245, 0]
    assert grey_of(loaded(tiff(2, 1, [16], 0, struct.pack("<2H", 1000, 65535)))) == [251, 0]


def test_12_bit_tiff_is_scaled_by_its_own_white():
    assert grey_of(loaded(tiff(2, 1, [12], 1, bytes([0xFF, 0xF8, 0x00])))) == [255, round(0x800 * 255 / 4095)]


def test_integers_without_agreed_scale_are_refused():
    with pytest.raises(ImageError, match="no agreed brightness"):
        to_rgb(row("I", 0, 65536))
    with pytest.raises(ImageError, match="no agreed brightness"):
        to_rgb(loaded(tiff(2, 1, [16], 1, struct.pack("<2h", 1000, -5), sample_format=2)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),  # 127.5 is rounded to the even neighbour
        ([-0.1, 0.25, 1.3], [0, 64, 255]),
        ([0.0, 100.0, 200.4], [0, 100, 200]),
        ([0.0, 1000.0, 65535.0], [0, 4, 255]),
        ([0.0, 0.0, 0.0], [0, 0, 0]),
    ],
)
def test_float_grey(values: list[float], expected: list[int]):
    assert grey_of(row("F", *values)) == expected
    for order in "<>":
        data = struct.pack(f"{order}3f", *values)
        assert grey_of(loaded(tiff(3, 1, [32], 1, data, order=order, sample_format=3))) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e6])
def test_floats_that_are_no_brightness(value: float):
    with pytest.raises(ImageError, match="no brightness"):
        to_rgb(row("F", 0.5, value))


def test_cmyk_without_profile():
    assert rgb_of(row("CMYK", (255, 0, 0, 0), (0, 0, 0, 255), (0, 0, 0, 0))) == [
        [0, 255, 255],
        [0] * 3,
        [255] * 3,
    ]


def test_cmyk_jpeg_is_stored_inverted_and_comes_out_right():
    image = saved(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=100)
    assert image.mode == "CMYK"
    assert image.info["adobe"]
    assert rgb_of(image)[0] == [0, 255, 255]


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile_and_leaves_it_behind(format: str):
    # L* 50 is 18.4 % of the light of white, which sRGB writes as 119; Pillow alone gives (0, 255, 255).
    source = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    image = saved(source, format, icc_profile=cmyk_profile(50))
    result = to_rgb(image)
    assert np.asarray(result.rgb)[0, 0].tolist() == pytest.approx([119] * 3, abs=1)
    assert result.icc_profile is None


def test_cmyk_with_a_profile_that_is_none():
    for profile in (b"rubbish", b"\0" * 16 + b"CMYK" + b"\0" * 200, cmyk_profile(50)[:300]):
        image = row("CMYK", (255, 0, 0, 0))
        image.info["icc_profile"] = profile
        result = to_rgb(image)
        assert np.asarray(result.rgb)[0, 0].tolist() == [0, 255, 255]
        assert result.icc_profile is None


def test_grey_profile_is_converted():
    # Half the light is 188 in sRGB: 255 * (1.055 * (128 / 255) ** (1 / 2.4) - 0.055) = 187.9
    for image in (row("L", 128), row("LA", (128, 7))):
        image.info["icc_profile"] = linear_grey_profile()
        result = to_rgb(image)
        assert np.asarray(result.rgb)[0, 0].tolist() == pytest.approx([188] * 3, abs=1)
        assert result.icc_profile is None
        assert (result.alpha is not None) == (image.mode == "LA")


def test_grey_profile_of_16_bit_grey_is_converted():
    image = saved(row("I;16", 0x8080), "PNG", icc_profile=linear_grey_profile())
    assert image.mode.startswith("I")
    assert grey_of(image) == pytest.approx([188], abs=1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_rgb_profile_is_kept_and_not_applied(mode: str):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = palette_image("RGB").convert(mode)
    image = plain.copy()
    image.info["icc_profile"] = profile
    result = to_rgb(image)
    assert result.icc_profile == profile
    assert result.rgb.tobytes() == plain.convert("RGB").tobytes()


def test_lab():
    # L* 50 is 119 in sRGB, see above; in TIFF a* and b* are signed bytes.
    image = loaded(tiff(2, 1, [8] * 3, 8, bytes([128, 0, 0, 255, 0, 0])))
    assert image.mode == "LAB"
    pixels = rgb_of(image)
    assert pixels[0] == pytest.approx([119] * 3, abs=1)
    assert pixels[1] == pytest.approx([255] * 3, abs=1)


def srgb_of_lab(lightness: float, a: float, b: float) -> list[float]:
    """CIE L*a*b* (D50) to sRGB, 0-255, by the textbook: CIE 15, and Lindbloom's matrix from XYZ at D50."""
    y = (lightness + 16) / 116
    xyz = [
        white * (t**3 if t > 6 / 29 else 3 * (6 / 29) ** 2 * (t - 4 / 29))
        for white, t in zip((0.9642, 1.0, 0.8249), (y + a / 500, y, y - b / 200), strict=True)
    ]
    matrix = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    light = np.array(matrix) @ xyz
    return list(255 * np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light))


def test_lab_colours():
    image = loaded(tiff(2, 1, [8] * 3, 8, struct.pack("BbbBbb", 153, 30, -40, 102, -20, 25)))
    pixels = rgb_of(image)
    assert pixels[0] == pytest.approx(srgb_of_lab(60, 30, -40), abs=1.5)
    assert pixels[1] == pytest.approx(srgb_of_lab(40, -20, 25), abs=1.5)


def test_ycbcr_tiff():
    data = tiff(2, 1, [8] * 3, 6, bytes([128, 128, 128, 76, 85, 255]), extra=[(530, 3, [1, 1])])
    try:
        image = loaded(data)
    except OSError:
        pytest.skip("this Pillow does not decode them")
    assert image.mode == "YCbCr"
    assert rgb_of(image)[0] == [128] * 3
    assert rgb_of(image)[1] == pytest.approx([254, 0, 0], abs=1)
