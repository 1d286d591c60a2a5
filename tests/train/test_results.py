import numpy as np
import pytest

from jax3dgen.export import turntable
from jax3dgen.train import distill_config, results


def test_ring_starts_in_front_at_the_training_lens():
  config = distill_config.default_config()
  config.camera.distance, config.camera.fovy_deg = (2.0, 3.0), (30.0, 50.0)
  camera = results.ring(config, 8)
  np.testing.assert_allclose(np.rad2deg(camera.azimuth), np.arange(8) * 45.0, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(camera.distance, 2.5)
  np.testing.assert_allclose(np.rad2deg(camera.fovy), 40.0, rtol=1e-6)


def test_previews_come_back_in_order(tmp_path):
  for step, shade in ((500, 0.25), (20, 0.75)):
    turntable.write_png(tmp_path / 'previews' / f'{step:06d}.png', np.full((4, 8, 3), shade))
  found = results.previews(tmp_path)
  assert [step for step, _ in found] == [20, 500]
  assert [float(strip.mean()) for _, strip in found] == pytest.approx([0.75, 0.25], abs=0.003)
