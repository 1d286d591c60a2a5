"""Pictures of a user's own objects, for preference tuning of a generator."""

import functools
import pathlib

import numpy as np

from jax3dgen.core import paths
from jax3dgen.core.errors import ConfigError
from jax3dgen.export import mesh_io
from jax3dgen.generator import pictures
from jax3dgen.scene import mesh as meshes

MESHES = ('.glb', '.gltf', '.obj', '.ply', '.stl', '.off')


def read(folder, split, most):
  """(paths [I], object [I] int, mesh or None) of the first `most` pictures below folder/split.

  A picture directly in folder/split shows an object of its own; those of a folder in it all show
  one. mesh: (i) -> the Mesh, near the origin, of the one mesh file in that folder; None where an
  object has none, so that distances from the true shape are unknown. ConfigError where there is no
  picture.
  """
  root = pathlib.Path(folder).expanduser() / split
  images = paths.find(str(root), pictures.SUFFIXES)[:most] if root.is_dir() else []
  if not images:
    raise ConfigError(f'config.images.folder={folder!r}: there is no picture '
                      f'({", ".join(pictures.SUFFIXES)}) in {root}.')
  owners = [path if path.parent == root else root / path.relative_to(root).parts[0]
            for path in images]
  index = {owner: i for i, owner in enumerate(dict.fromkeys(owners))}
  files = [paths.find(str(owner), MESHES) if owner.is_dir() else [] for owner in owners]
  mesh = None
  if all(len(each) == 1 for each in files):
    mesh = functools.cache(lambda i: meshes.near_origin(mesh_io.read(files[i][0]))[0])
  return images, np.array([index[owner] for owner in owners]), mesh
