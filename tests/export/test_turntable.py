import subprocess

import imageio_ffmpeg
import numpy as np
from PIL import Image
import pytest

from jax3dgen.export import turntable


def panels(count, height, width):
  """Frames [count, height, width, 3] with a red half, a blue half and a grey bar that moves."""
  frames = np.empty((count, height, width, 3), np.float32)
  frames[:, :, :width // 2] = (0.8, 0.15, 0.1)
  frames[:, :, width // 2:] = (0.2, 0.45, 0.9)
  for i in range(count):
    frames[i, 4 * i:4 * i + 8] = 0.5
  return frames


@pytest.mark.parametrize('height, width', [(64, 48), (63, 47)])
def test_video_reads_back(tmp_path, height, width):
  frames = panels(8, height, width)
  path = tmp_path / 'turn table.mp4'
  turntable.write_video(path, frames, fps=12)
  done = subprocess.run(
      [imageio_ffmpeg.get_ffmpeg_exe(), '-i', path, '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-'],
      capture_output=True)
  for fact in ('h264', 'yuv420p(tv, bt709', '48x64', '12 fps'):
    assert fact in done.stderr.decode()
  read = np.frombuffer(done.stdout, np.uint8).reshape(8, 64, 48, 3)
  error = np.abs(read[:, :height, :width].astype(float) - 255 * frames)
  assert np.median(error) < 3  # away from edges, where the halved chroma blurs
  assert np.abs(read[0, 40, 8].astype(float) - 255 * frames[0, 40, 8]).max() < 6
  assert list(tmp_path.iterdir()) == [path]


def test_bytes_and_floats_give_the_same_video(tmp_path):
  frames = panels(2, 32, 32)
  turntable.write_video(tmp_path / 'a.mp4', frames)
  turntable.write_video(tmp_path / 'b.mp4', turntable.pixels(frames))
  assert (tmp_path / 'a.mp4').read_bytes() == (tmp_path / 'b.mp4').read_bytes()


@pytest.mark.parametrize('shape', [(4, 8, 8, 4), (0, 8, 8, 3), (8, 8, 3)])
def test_invalid_video_shapes_are_refused(tmp_path, shape):
  with pytest.raises(ValueError, match='Expected'):
    turntable.write_video(tmp_path / 'a.mp4', np.zeros(shape))
  assert not list(tmp_path.iterdir())


def test_png_keeps_every_pixel(tmp_path):
  picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
  turntable.write_png(tmp_path / 'previews' / 'a.png', picture)
  np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'previews' / 'a.png')), picture)
  turntable.write_png(tmp_path / 'b.png', picture / np.float32(255))
  np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'b.png')), picture)


@pytest.mark.parametrize('height, factor', [(32, 4), (64, 2), (96, 2), (128, 1), (300, 1)])
def test_small_pictures_grow_by_whole_factors(height, factor):
  picture = np.random.default_rng(0).random((height, 6, 3), np.float32)
  grown = turntable.readable(picture)
  assert grown.shape == (factor * height, factor * 6, 3)
  for corner in (0, factor - 1):
    np.testing.assert_array_equal(grown[corner::factor, corner::factor], turntable.pixels(picture))
