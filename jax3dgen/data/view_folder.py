"""Pictures of a user's own objects: references, and true views where there are any.

FOLDER/SPLIT/OBJECT holds pictures named like the views, front.png, right.png, back.png, left.png
and top.png, as `views_to_3d` writes them, or some of the first four; a picture directly in
FOLDER/SPLIT is the front of an object of its own. Pictures are square, in the framing of the prior;
transparent ones are put on white.

Axes: I objects, V views, S pixels per side.
"""

import pathlib

import numpy as np
from PIL import Image

from jax3dgen.core import image as images
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import multiview as world
from jax3dgen.generator import pictures
from jax3dgen.prior import multiview

NAMES = tuple(f'{name}{suffix}' for name in world.SLOTS for suffix in pictures.SUFFIXES)


def read(folder, split, most, size, field='config.objects.folder'):
  """(slot [I] int32, reference [I, S, S, 3], views [I, V, S, S, 3] or None) of the first `most`
  objects, in the order of their names; S is `size`, values are in [0, 1].

  The reference of an object with all views is front, right, back, left in turn, else the first that
  is there. views is None where an object lacks one. ConfigError, which names the file, for what
  cannot be used.
  """
  root = pathlib.Path(folder).expanduser() / split
  objects = [of for of in map(_pictures, sorted(root.iterdir()) if root.is_dir() else ()) if of]
  if not objects:
    raise ConfigError(f'{field}={folder!r}: there is no picture in {root}, and no '
                      f'folder with one of {", ".join(world.SLOTS[:world.SIDES])} '
                      f'({", ".join(pictures.SUFFIXES)}).')
  objects = objects[:most]
  whole = [len(of) == len(world.SLOTS) for of in objects]
  slot = np.array([i % world.SIDES if whole[i] else min(of) for i, of in enumerate(objects)])
  views = np.stack([[_read(of[v], size) for v in range(len(world.SLOTS))] for of in objects]) if (
      all(whole)) else None
  reference = (np.stack([_read(of[k], size) for of, k in zip(objects, slot, strict=True)])
               if views is None else views[np.arange(len(slot)), slot])
  return slot.astype(np.int32), multiview.check_references(reference), views


def _pictures(path):
  """{slot: file} of a picture or of the folder of an object; empty for anything else."""
  if path.is_file():
    return {0: path} if path.suffix.lower() in pictures.SUFFIXES else {}
  files = {name: path / name for name in NAMES if (path / name).is_file()}
  of = {world.SLOTS.index(file.stem): file for file in files.values()}
  return of if any(slot < world.SIDES for slot in of) else {}


def _read(path, size):
  """A picture file as [size, size, 3] in [0, 1] on white."""
  image = pictures.rgba(pictures.read(path))
  if image.size[0] != image.size[1]:
    raise ConfigError(f'{path} is not square: {image.size[0]} x {image.size[1]} pixels.')
  white = images.over(np.asarray(image, np.float32) / 255, 1.0)
  channels = [np.asarray(Image.fromarray(white[..., i]).resize((size, size),
                                                               Image.Resampling.LANCZOS))
              for i in range(3)]
  return np.clip(np.stack(channels, -1), 0.0, 1.0)
