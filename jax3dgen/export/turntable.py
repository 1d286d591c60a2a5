"""Image and video files: turntable videos as mp4, views and strips of views as PNG.

Images are [..., H, W, 3], row 0 at the top: uint8 as they are, others in [0, 1]. The video is H.264
in yuv420p with the BT.709 matrix, which its metadata state, so that players show correct colours.
"""

import io
import subprocess

import imageio_ffmpeg
import numpy as np
from PIL import Image

from jax3dgen.core import files
from jax3dgen.core import image as image_lib

COLOR = ('scale=out_color_matrix=bt709:out_range=tv,setparams=range=tv:colorspace=bt709:'
         'color_primaries=bt709:color_trc=bt709')


def pixels(images):
  """Images [..., H, W, 3], uint8 or in [0, 1], as a contiguous uint8 array on the host."""
  images = np.asarray(images)
  if images.ndim < 3 or images.shape[-1] != 3 or 0 in images.shape:
    raise ValueError(f'Expected images [..., H, W, 3], got {images.shape}.')
  whole = images if images.dtype == np.uint8 else image_lib.to_uint8(images)
  return np.ascontiguousarray(whole)


def write_video(path, frames, fps=24.0):
  """Writes `frames` [N, H, W, 3] as the video `path` (.mp4).

  yuv420p needs even sizes: an odd one is padded by repeating its last row or column.
  """
  frames = pixels(frames)
  if frames.ndim != 4:
    raise ValueError(f'Expected frames [N, H, W, 3], got {frames.shape}.')
  _, height, width, _ = frames.shape
  frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), 'edge')
  size = f'{frames.shape[2]}x{frames.shape[1]}'
  with files.replacing(path) as beside:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', '-y',
               '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', size, '-r', str(fps), '-i', '-',
               '-c:v', 'libx264', '-crf', '16', '-pix_fmt', 'yuv420p', '-vf', COLOR,
               '-movflags', '+faststart', '-f', 'mp4', str(beside)]
    # imageio_ffmpeg.write_frames forks, which is unsafe in a process with JAX's threads.
    done = subprocess.run(command, input=frames.tobytes(), capture_output=True)
    if done.returncode:
      raise OSError(f'ffmpeg wrote no video for {path}: {done.stderr.decode(errors="replace")}')


def readable(picture, height=128):
  """`picture` [H, W, 3] enlarged by the smallest whole factor to at least `height` rows,
  unsmoothed.
  """
  picture = pixels(picture)
  return image_lib.enlarge(picture, max(1, -(-height // picture.shape[0])))


def png(picture):
  """`picture` [H, W, 3] as the bytes of a PNG file."""
  buffer = io.BytesIO()
  Image.fromarray(pixels(picture)).save(buffer, 'PNG', optimize=True)
  return buffer.getvalue()


def write_png(path, picture):
  """Writes `picture` [H, W, 3] as a PNG file."""
  with files.replacing(path) as beside:
    beside.write_bytes(png(picture))
