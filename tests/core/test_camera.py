"""Orbit cameras: handedness, the directions of azimuth, left and right, pixel centres, strata."""

import jax
import numpy as np
import pytest

from jax3dgen.core import camera

DEGREE = np.pi / 180
orbit = jax.jit(camera.orbit, static_argnames='orthographic')
rays_of = jax.jit(camera.rays, static_argnums=(1, 2))
sample_orbit = jax.jit(camera.sample_orbit, static_argnums=(2, 4, 5),
                       static_argnames=('by_area', 'by_area_range'))


def some_cameras(count=64):
  keys = jax.random.split(jax.random.key(3), 2)
  return jax.device_get(
      sample_orbit(*keys, count, 0, 1, (-0.3, 1.2), (1.0, 3.0), (0.5, 1.2)))


def test_rotations_are_right_handed_and_look_at_the_origin():
  # A rotation has the determinant +1.
  cams = some_cameras()
  rotation = np.asarray(cams.c2w[:, :3, :3])
  np.testing.assert_allclose(np.linalg.det(rotation), 1.0, atol=1e-5)
  np.testing.assert_allclose(rotation @ np.swapaxes(rotation, 1, 2),
                             np.broadcast_to(np.eye(3), rotation.shape), atol=1e-5)
  eye = np.asarray(cams.c2w[:, :3, 3])
  np.testing.assert_allclose(-rotation[:, :, 2] * np.asarray(cams.distance)[:, None], -eye,
                             atol=1e-5)
  assert (rotation[:, 2, 1] > 0).all()  # the image's up has a part of +z


def test_azimuth_starts_at_x_and_turns_to_y_and_elevation_is_above():
  cams = orbit(np.float32([0.0, 90.0, 180.0, 0.0]) * DEGREE,
               np.float32([0.0, 0.0, 0.0, 30.0]) * DEGREE, 2.0, 0.7)
  expected = [[2, 0, 0], [0, 2, 0], [-2, 0, 0], [2 * np.cos(30 * DEGREE), 0, 1]]
  np.testing.assert_allclose(cams.c2w[:, :3, 3], expected, atol=1e-6)


def test_left_of_the_object_is_on_the_right_of_the_front_view():
  rays = jax.device_get(rays_of(orbit(0.0, 0.0, 3.0, 0.7), 8, 8))
  end = rays.origin + 3.0 * rays.direction
  assert end[0, 0, 7, 1] > 0 > end[0, 0, 0, 1]  # +y, the left hand of who faces +x
  assert end[0, 0, 0, 2] > 0 > end[0, 7, 0, 2]  # row 0 at the top


def test_rays_go_through_pixel_centres():
  height, width, fovy = 4, 6, 0.9
  rays = jax.device_get(rays_of(orbit(0.0, 0.0, 2.0, fovy), height, width))
  focal = 0.5 * height / np.tan(fovy / 2)
  for row in range(height):
    for column in range(width):
      expected = np.array([-focal, column + 0.5 - width / 2, height / 2 - row - 0.5])
      np.testing.assert_allclose(rays.direction[0, row, column],
                                 expected / np.linalg.norm(expected), atol=1e-6)
  np.testing.assert_allclose(np.linalg.norm(rays.direction, axis=-1), 1.0, atol=1e-6)


def test_orthographic_rays_are_parallel_and_span_the_window():
  rays = jax.device_get(rays_of(orbit(0.0, 0.0, 2.0, 0.9, orthographic=True), 4, 4))
  np.testing.assert_allclose(rays.direction, np.broadcast_to([-1.0, 0, 0], (1, 4, 4, 3)), atol=1e-6)
  half = 2.0 * np.tan(0.45)
  np.testing.assert_allclose(rays.origin[0, :, 0, 2], half * np.array([0.75, 0.25, -0.25, -0.75]),
                             rtol=1e-5)


@pytest.mark.parametrize('count', [1, 4])
def test_azimuths_are_stratified_over_all_devices(count):
  batch, shared = 3, jax.random.key(5)
  azimuth = np.concatenate([
      sample_orbit(shared, jax.random.fold_in(shared, i), batch, i, count, (0.0, 0.5), (1.0, 2.0),
                   (0.6, 0.7)).azimuth for i in range(count)])
  assert (azimuth >= -np.pi).all() and (azimuth < np.pi).all()
  turns = azimuth / (2 * np.pi) - np.asarray(jax.random.uniform(shared))
  stratum = np.floor(np.mod(turns, 1.0) * batch * count).astype(int)
  assert sorted(stratum) == list(range(batch * count))


def test_samples_cover_their_ranges():
  cams = some_cameras(512)
  for value, (low, high) in ((cams.elevation, (-0.3, 1.2)), (cams.distance, (1.0, 3.0)),
                             (cams.fovy, (0.5, 1.2))):
    assert low <= value.min() < low + 0.1 * (high - low)
    assert high - 0.1 * (high - low) < value.max() <= high


def test_elevations_by_area_may_have_a_range_of_their_own():
  keys = jax.random.split(jax.random.key(0), 2)
  draw = lambda share: np.asarray(sample_orbit(
      *keys, 20_000, 0, 1, (-0.5, 1.5), (1.0, 1.0), (0.7, 0.7), by_area=share,
      by_area_range=(0.0, np.pi / 2)).elevation)
  assert draw(1.0).min() >= 0 and np.sin(draw(1.0)).mean() == pytest.approx(0.5, abs=0.01)
  assert (draw(0.5) < 0).mean() == pytest.approx(0.5 * 0.25, abs=0.01)


@pytest.mark.parametrize('by_area', [0.5, 1.0])
def test_elevations_by_area_have_the_mean_sine_of_their_zone(by_area):
  # The mean sine is (sin low + sin high) / 2 by area, (cos low - cos high) / (high - low) by angle.
  low, high, count = -0.2, 1.2, 4096
  height = sample_orbit(*jax.random.split(jax.random.key(3)), count, 0, 1, (low, high),
                        (1.0, 1.0), (0.7, 0.7), by_area=by_area).elevation
  mean = by_area * (np.sin(low) + np.sin(high)) / 2
  mean += (1 - by_area) * (np.cos(low) - np.cos(high)) / (high - low)
  sine = np.sin(np.asarray(height))
  assert abs(sine.mean() - mean) < 3 * sine.std() / np.sqrt(count)


def test_view_classes_are_quarters_centred_on_the_axes():
  azimuth = np.float32([-45.0, 0.0, 44.9, 45.1, 90.0, 134.9, 135.1, 180.0, -180.0, -135.1, -134.9,
                        -90.0, -45.1, 270.0, 360.0]) * DEGREE
  names = [camera.VIEWS[i] for i in np.asarray(jax.jit(camera.view_class)(azimuth))]
  assert names == ['front'] * 3 + ['left'] * 3 + ['back'] * 4 + ['right'] * 4 + ['front']


def test_ring_is_even_and_starts_at_the_front():
  cams = jax.jit(camera.ring, static_argnums=0)(8, 0.2, 2.0, 0.7)
  np.testing.assert_allclose(cams.azimuth, np.arange(8) * np.pi / 4, atol=1e-6)
  np.testing.assert_allclose(cams.elevation, 0.2)


def test_wrap():
  angle = np.float32([-4.0, -np.pi, 0.0, 3.0, np.pi + 0.1, 7.0])
  wrapped = np.asarray(jax.jit(camera.wrap)(angle))
  assert (wrapped >= -np.pi).all() and (wrapped < np.pi).all()
  np.testing.assert_allclose(np.exp(1j * wrapped), np.exp(1j * angle), atol=1e-6)
