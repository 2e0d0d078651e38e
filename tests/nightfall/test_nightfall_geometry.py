"""Faces, cameras and the depth buffer of the synthetic city, against answers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.nightfall.camera import Camera, look, planes_of
from darkside_cli.nightfall.canvas import HOLE
from darkside_cli.nightfall.dice import Dice
from darkside_cli.nightfall.lamplight import BRIGHTEST, Light, irradiance, light_grid, light_map
from darkside_cli.nightfall.mesh import Mesh, Patch
from darkside_cli.nightfall.raster import NOTHING, draw, draw_shadows
from darkside_cli.nightfall.solids import MeshBuilder, rectangle, regular
from darkside_cli.nightfall.sunlight import SunShine, sun_view, sunlit

PATCH = Patch(4, 6, 11, 21, 5.0)
SOLID = np.zeros((64, 64), dtype=np.uint8)


def built(*quads: list[tuple[float, float, float]], cutout: bool = False) -> Mesh:
    mesh = MeshBuilder()
    for quad in quads:
        mesh.quad(quad, PATCH, cutout=cutout)
    return mesh.build()


def upright(x0: float, x1: float, z0: float, z1: float, y: float) -> list[tuple[float, float, float]]:
    """A wall that faces -y."""
    return [(x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)]


def texel(mesh: Mesh, face: int, tx: float, ty: float) -> list[float]:
    return (mesh.origin[face] + mesh.along[face] * tx + mesh.down[face] * ty).tolist()


def front_camera(size: int = 33) -> Camera:
    """Ten metres before the origin, two high; a metre at the origin is size / 20 pixels."""
    return look((0, -10, 2), (0, 0, 2), fov_degrees=90, size_px=size)


def test_a_wall_carries_its_texture_from_corner_to_corner() -> None:
    mesh = built(upright(-1, 3, 0, 8, y=5))
    assert texel(mesh, 0, 4, 6) == pytest.approx([-1, 5, 8])
    assert texel(mesh, 0, 14, 6) == pytest.approx([3, 5, 8])
    assert texel(mesh, 0, 4, 26) == pytest.approx([-1, 5, 0])
    assert mesh.normal[0].tolist() == pytest.approx([0, -1, 0])


def test_a_texture_that_is_not_fitted_keeps_its_scale_from_the_lower_left() -> None:
    mesh = MeshBuilder()
    mesh.quad(upright(-1, 3, 0, 8, y=5), PATCH, fit=False)
    whole = mesh.build()
    assert texel(whole, 0, 4, 26) == pytest.approx([-1, 5, 0])
    assert texel(whole, 0, 9, 21) == pytest.approx([0, 5, 1])  # five texels a metre


def test_what_is_placed_is_turned_and_moved() -> None:
    mesh = MeshBuilder()
    with mesh.placed(10, 20, math.pi / 2), mesh.placed(1, 0):
        mesh.quad(upright(0, 1, 0, 1, y=0), PATCH)
    mesh.quad(upright(0, 1, 0, 1, y=0), PATCH)
    turned, plain = mesh.build().vertices
    assert turned[0].tolist() == pytest.approx([10, 21, 0])
    assert turned[1].tolist() == pytest.approx([10, 22, 0])
    assert plain[1].tolist() == pytest.approx([1, 0, 0])


@pytest.mark.parametrize("kind", ["prism", "pyramid", "gable", "dome"])
def test_solids_turn_their_faces_outwards_and_are_closed(kind: str) -> None:
    mesh = MeshBuilder()
    if kind == "prism":
        mesh.prism(regular(7, 3), 0, 4, PATCH, PATCH)
    elif kind == "pyramid":
        mesh.loft(rectangle(4, 4, y=-2), [(0.0, 0.0)], 0, 4, PATCH)
    elif kind == "gable":
        mesh.gable(4, 6, 0, 3, PATCH, PATCH, y=-3, overhang=0)
    else:
        mesh.dome(3, 0, 3, PATCH)
    solid = mesh.build()
    inside = np.array([0.0, 0.0, 0.7])
    for vertices, normal in zip(solid.vertices, solid.normal, strict=True):
        assert (vertices.mean(axis=0) - inside) @ normal > 0
    # Whatever an outline has as an edge, its neighbour has the other way round, but for the rim on the ground.
    edges = {
        (tuple(np.round(face[n - 1], 6)), tuple(np.round(face[n], 6)))
        for face in solid.vertices
        for n in range(len(face))
    }
    open_edges = [(a, b) for a, b in edges if (b, a) not in edges]
    assert all(a[2] == 0 and b[2] == 0 for a, b in open_edges)


def test_a_camera_sees_points_where_they_should_be() -> None:
    pixels, ahead = front_camera(33).project(np.array([[0, 0, 2], [5, 0, 2], [0, 0, 7], [0, 10, 2.0]]))
    assert pixels.tolist() == pytest.approx(np.array([[16, 16], [24.25, 16], [16, 7.75], [16, 16]]))
    assert ahead.tolist() == pytest.approx([10, 10, 10, 20])


@settings(max_examples=40, deadline=None)
@given(
    where=st.tuples(st.floats(-20, 20), st.floats(-40, -5), st.floats(1, 9)),
    roll=st.floats(-20, 20),
    at=st.tuples(st.floats(4, 14), st.floats(6, 26)),
)
def test_planes_find_the_texel_and_the_distance_of_a_pixel(
    where: tuple[float, float, float], roll: float, at: tuple[float, float]
) -> None:
    mesh = built(upright(-3, 2, 0, 5, y=1))
    camera = look(where, (0, 1, 2), fov_degrees=50, roll_degrees=roll, size_px=200)
    pixels, ahead = camera.project(np.array([texel(mesh, 0, *at)]))
    planes = planes_of(mesh, camera)
    x, y = pixels[0]
    tx, ty, near = (planes.columns[k : k + 3, 0] @ (x, y, 1) for k in (0, 3, 6))
    assert 1 / near == pytest.approx(ahead[0], rel=1e-6)
    assert (tx / near, ty / near) == pytest.approx(at, abs=1e-5)
    assert planes.facing[0]


def test_the_nearer_face_is_seen_whatever_the_order() -> None:
    wall, door = upright(-4, 4, 0, 4, y=2), upright(-1, 1, 0, 2, y=1)
    for quads in ((wall, door), (door, wall)):
        mesh = built(*quads)
        camera = front_camera()
        buffer = draw(mesh, camera, planes_of(mesh, camera), SOLID)
        door_number = quads.index(door)
        (column, row), _ = (part[0] for part in camera.project(np.array([[0.0, 1, 1]])))
        assert buffer.face[round(row), round(column)] == door_number
        (column, row), _ = (part[0] for part in camera.project(np.array([[3.0, 2, 3.5]])))
        assert buffer.face[round(row), round(column)] == 1 - door_number
        assert 1 / buffer.near[round(row), round(column)] == pytest.approx(12, rel=0.01)
        assert buffer.face[0, 0] == NOTHING


def test_faces_are_not_seen_from_behind_unless_they_are_cut_out() -> None:
    behind = [(1, 0, 0), (-1, 0, 0), (-1, 0, 4), (1, 0, 4)]
    camera = front_camera()
    for cutout in (False, True):
        mesh = built(behind, cutout=cutout)
        seen = draw(mesh, camera, planes_of(mesh, camera), SOLID).face
        assert bool(seen[16, 16] == 0) == cutout


def test_one_sees_through_the_holes_of_a_cutout() -> None:
    ident = SOLID.copy()
    ident[6:27, 9:15] = HOLE  # the right half of the patch
    mesh = built(upright(-4, 4, 0, 4, y=0), cutout=True).joined(built(upright(-9, 9, -9, 9, y=5)))
    camera = front_camera(65)
    seen = draw(mesh, camera, planes_of(mesh, camera), ident).face
    assert seen[32, 28] == 0
    assert seen[32, 36] == 1


def test_ground_under_the_camera_reaches_the_lower_edge_and_the_horizon() -> None:
    mesh = built([(-500, -100, 0), (500, -100, 0), (500, 900, 0), (-500, 900, 0)])
    camera = front_camera(65)
    seen = draw(mesh, camera, planes_of(mesh, camera), SOLID).face
    assert (seen[34:] == 0).all()
    assert (seen[:32] == NOTHING).all()


def test_a_plate_throws_its_shadow_along_the_sun() -> None:
    ground = [(-50, -50, 0.0), (50, -50, 0.0), (50, 50, 0.0), (-50, 50, 0.0)]
    plate = [(-2, -2, 5.0), (2, -2, 5.0), (2, 2, 5.0), (-2, 2, 5.0)]
    mesh = built(ground, plate)
    sun = (0.6, 0.0, 0.8)  # from the right: the shadow falls 3.75 m to the left
    view = sun_view(sun)
    shine = SunShine(sun, (1, 1, 1), view, draw_shadows(mesh, view, SOLID))
    camera = look((0, -30, 30), (0, 0, 0), fov_degrees=60, size_px=64)
    points = np.array([[-3.75, 0, 0], [-3.75, 1.4, 0], [0.5, 0, 0], [-8, 0, 0], [0, 0, 5.0]])
    pixels, ahead = camera.project(points)
    x, y, far = (values.astype(np.float32)[None] for values in (pixels[:, 0], pixels[:, 1], ahead))
    assert sunlit(shine, camera, far, x, y)[0].tolist() == [0, 0, 1, 1, 1]


def test_a_lamp_lights_what_faces_it_by_the_square_of_the_distance() -> None:
    mesh = built(upright(-1, 1, 0, 2, y=0), upright(-1, 1, 0, 2, y=-20))
    grid = light_grid(mesh)
    lit = irradiance(grid, Light((0, -10, 1), "globe", 50))
    first = len(lit) // 2
    middle = np.abs(grid.points[:first] - (0, 0, 1)).sum(axis=1).argmin()
    assert lit[middle] == pytest.approx(50 / 100.4, rel=0.1)
    assert not lit[first:].any()  # it turns its back to the lamp
    image, places = light_map(grid, [lit], [(1, 0, 0.25)])
    column, row = places[0, :2].astype(int)
    shown = image[row, column].astype(float) ** 2 / 255**2 * BRIGHTEST
    assert shown[:3].tolist() == pytest.approx([lit[0], 0, lit[0] / 4], rel=0.05)


def test_dice_are_the_same_everywhere() -> None:
    """Raw PCG64 of a hashed name: recorded once, true for every NumPy."""
    dice = Dice("nightfall", 1, "x")
    assert [dice.integer(1, 100) for _ in range(6)] == [78, 76, 97, 67, 9, 16]
    assert dice.child("a").uniform() == Dice("nightfall", 1, "x", "a").uniform()
    assert Dice("a", 1).bytes(2, 5).shape == (2, 5)
    drawn = Dice("b").uniforms(4000)
    assert 0 <= drawn.min() < 0.01 < 0.99 < drawn.max() < 1
    assert abs(drawn.mean() - 0.5) < 0.02
    picked = [Dice("c", n).weighted({"often": 3.0, "rarely": 1.0, "never": 0.0}) for n in range(400)]
    assert 60 < picked.count("rarely") < 140
    assert "never" not in picked
