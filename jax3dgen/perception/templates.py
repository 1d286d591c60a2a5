"""Pose templates from pictures: what the pose classifier compares an image with.

A folder holds pictures of one object from two or more sides, called by their poses: front.png,
front-2.png, left.png ... They may be renders, photographs or sketches. `load` and `classify` are
the classifier that an objective asks; the poses follow one another counter-clockwise, as in
`distill.base.sector`.
"""

import dataclasses
from importlib import resources
from pathlib import Path
import re
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jax3dgen.core import image, rng
from jax3dgen.core.camera import SECTORS
from jax3dgen.core.errors import ConfigError
from jax3dgen.formats import features
from jax3dgen.perception import augment, pose
from jax3dgen.prior import words

POSES = SECTORS
OTHERS = ('sketches', 'turned')  # folders of shipped line drawings, and of pictures taken askew
SMALLEST = 16  # pixels per side of a picture
SIDE, MAP = 560, 16  # what a DINOv2 is shown, and patches per side of its resized map (RecDreamer)
TURNED = 20  # degrees that the turned pictures are askew
COPIES = 32  # augmented copies of each pose
CHUNK = 16  # copies whose features are taken together
HUE, TONE = 0.6, 0.2  # jitter of the copies for the patches: radians, and share
SHIFT, SCALE, SHEAR = 0.2, 0.2, 0.05  # moves of the copies for the class token
NOISE, GREY_SHARE = 0.1, 0.2  # spread of the noise in half of those, and share without colour


@dataclasses.dataclass(frozen=True)
class Look:
  """(params, images [B, H, W, 3] in [0, 1]) -> Features for the pose: of images of `size` pixels
  per side, patches resized to a map of `patches` per side where that is not 0."""
  apply: features.Apply
  size: int
  patches: int = 0

  def __call__(self, params, images):
    seen = self.apply(params, image.resize(images, (self.size, self.size)))
    if not self.patches:
      return seen
    shape = (len(images), self.patches, self.patches, seen.patches.shape[-1])
    return seen._replace(patches=jax.image.resize(seen.patches, shape, 'linear', antialias=False))


@struct.dataclass
class Classifier:
  """The parameters of a network, the templates that were made with it, and how it looks."""
  params: Any
  templates: Any
  look: Look = struct.field(pytree_node=False)


def seeing(path=''):
  """(Look, parameters) of the features in the folder `path`; '': the network that is shipped."""
  apply, params = features.load(path or None)
  return (Look(apply, apply.size) if apply.size else Look(apply, SIDE, MAP)), params


def folder():
  """Where the shipped pictures lie: a folder for each kind, and their sketches."""
  return Path(str(resources.files('jax3dgen') / 'assets' / 'pose_templates'))


def read(path, size=features.SIZE):
  """(poses, pictures) of the PNGs in a folder: names out of POSES, in that order, and for each
  its pictures [n, S, S, 3] in [0, 1], `size` pixels per side.

  ConfigError where there are pictures of fewer than two poses, one called otherwise than its pose
  (front.png, front-2.png), one that is not square or smaller than 16 px, or a damaged one.
  """
  path = Path(path)
  found = {name: [] for name in POSES}
  for file in sorted(path.glob('*.png')):
    name = re.sub(r'-\d+$', '', file.stem)
    if name not in found:
      raise ConfigError(f'{file} is called after no pose; pose templates are called '
                        f'{", ".join(POSES)}, further ones of a pose front-2 and so on.')
    found[name].append(_picture(file, size))
  found = {name: np.stack(pictures) for name, pictures in found.items() if pictures}
  if not found:
    raise ConfigError(f'{path} holds no pose templates: PNG files called '
                      f'{", ".join(f"{name}.png" for name in POSES)}.')
  if len(found) < 2:
    raise ConfigError(f'{path} holds pictures of one pose alone, {"".join(found)}; a classifier '
                      'needs two or more.')
  return tuple(found), tuple(found.values())


def _picture(file, size):
  """A PNG file as [S, S, 3] in [0, 1]; what is transparent becomes white."""
  try:
    with Image.open(file) as opened:
      pixels = np.asarray(opened.convert('RGBA'), np.float32) / 255
  except (OSError, SyntaxError, ValueError) as error:
    raise ConfigError(f'{file} is no whole PNG picture.') from error
  if pixels.shape[0] != pixels.shape[1] or len(pixels) < SMALLEST:
    raise ConfigError(f'{file} has {pixels.shape[1]} x {pixels.shape[0]} pixels; a pose template '
                      f'is square, with {SMALLEST} pixels or more per side.')
  alpha = pixels[..., 3:]
  shown = pixels[..., :3] * alpha + 1.0 - alpha
  return np.clip(image.resize(jnp.asarray(shown)[None], (size, size))[0], 0.0, 1.0)


def copies_of(key, pictures):
  """Augmented copies of pictures [A, S, S, 3]: (for the class token, for the patches).

  As the authors do, patches see other colours at the same place, so that the map of what lies where
  stays sharp, and class tokens see moved, noisy and grey pictures.
  """
  count = len(pictures)
  k_amounts, k_noise = jax.random.split(key)
  u = jax.random.uniform(k_amounts, (12, count), minval=-1.0)
  tone = lambda x: 1.0 + TONE * x
  coloured = augment.recoloured(pictures, augment.colour_matrix(HUE * u[0], tone(u[1])), tone(u[2]),
                                tone(u[3]))
  moved = augment.cropped(pictures, augment.Crop(SHIFT * u[4:6].T, 1.0 + SCALE * u[6:8].T,
                                                 SHEAR * u[8]))
  noise = NOISE * (u[9] > 0)[:, None, None, None] * jax.random.normal(k_noise, pictures.shape)
  moved = augment.greyed(moved, u[10] < 2 * GREY_SHARE - 1)
  return jnp.clip(moved + noise, 0.0, 1.0), coloured


def build(key, look, params, pictures, copies=COPIES, attention=None):
  """The pose.Templates of the pictures of each pose (a sequence of [n, S, S, 3]), averaged over
  `copies` augmented copies of each pose, with the features that look(params, images) gives.

  `attention` (images [n, S, S, 3]) -> [n, h, w] is larger where the object is; None: the border of
  the pictures counts as background.
  """
  cycle = lambda x: jnp.asarray(x)[np.arange(copies) % len(x)]
  made = [_features_of(look, params, *_copies(rng.stream(key, str(i)), cycle(x)))
          for i, x in enumerate(pictures)]
  tokens, patches = (np.stack(x) for x in zip(*made, strict=True))
  if attention is None:
    return pose.build(tokens, patches)
  told = np.stack([np.mean(attention(x), 0) for x in pictures])
  told = jax.image.resize(told, (len(told), *patches.shape[2:4]), 'linear')
  return pose.build(tokens, patches, np.asarray(told > told.mean((1, 2), keepdims=True)))


_copies = jax.jit(copies_of)
_seen = jax.jit(lambda look, params, images: look(params, images), static_argnums=0)


def _features_of(look, params, for_token, for_patches):
  """(class tokens [A, C], patches [A, h, w, C]) of the copies of one pose, on the host."""
  both = np.concatenate([for_token, for_patches])
  parts = [_seen(look, params, both[i:i + CHUNK]) for i in range(0, len(both), CHUNK)]
  token, patches = (np.concatenate(x) for x in zip(*parts, strict=True))
  return token[:len(for_token)], patches[len(for_token):]


def chosen(prompt, name):
  """The folder of templates that config field `name` means: itself, or '' and one of OTHERS for the
  shipped pictures of the kind that the prompt names. ConfigError where there is none."""
  if name not in ('', *OTHERS):
    if not Path(name).is_dir():
      raise ConfigError(f'config.distill.templates={name!r} is no folder of pose templates.')
    return Path(name)
  kinds = sorted(p.name for p in folder().iterdir() if p.is_dir() and p.name not in OTHERS)
  said = words.with_synonyms(prompt) & set(kinds)
  if len(said) != 1:
    raise ConfigError(f'The prompt names {"no" if not said else "more than one"} kind that pose '
                      f'templates are shipped for ({", ".join(kinds)}); name a folder of your own '
                      'in config.distill.templates.')
  return folder() / name / said.pop()


def load(prompt, cfg, attention=None):
  """The Classifier for a prompt: built once, in seconds; the same for the same pictures.

  `attention` is that of `build`: the prior's, of the prompt's words, where it has one.

  cfg.templates is a folder, or '' for the shipped pictures of the kind that the prompt names,
  'sketches' for line drawings of them, or 'turned' for pictures taken TURNED degrees too far round.
  cfg.poses says which of them are told apart, and which count as one; cfg.features is a folder of a
  DINOv2, or '' for the shipped network.
  """
  path = chosen(prompt, cfg.templates)
  look, params = seeing(cfg.features)
  found = dict(zip(*read(path, look.size), strict=True))
  if cfg.control and not cfg.poses and tuple(found) != POSES:
    raise ConfigError(f'config.distill.control asks for {", ".join(POSES)}, and {path} holds '
                      f'{", ".join(found)} alone: name them in config.distill.poses.')
  pictures = grouped(found, cfg.poses, path)
  made = build(jax.random.key(0), look, params, pictures, attention=attention)
  return Classifier(params, made, look)


def grouped(found, poses, path):
  """The pictures of each class that `poses` names ('front left+right back'; '': each pose alone),
  out of found {pose: pictures [n, S, S, 3]} of the folder `path`."""
  groups = [group.split('+') for group in poses.split()] or [[name] for name in found]
  named = [name for group in groups for name in group]
  for name in named:
    if name not in found:
      raise ConfigError(f'config.distill.poses={poses!r}: {path} has no template of {name!r}, only '
                        f'of {", ".join(found)}.')
  if len(groups) < 2 or len(set(named)) < len(named):
    raise ConfigError(f'config.distill.poses={poses!r} is not two or more different poses.')
  return [np.concatenate([found[name] for name in group]) for group in groups]


def classify(classifier, images, t, cfg):
  """p(pose | image) [B, K] of images [B, H, W, 3] in [0, 1], poses in the order of `read`.

  cfg.temperature and cfg.parts are those of `pose.probabilities`; the noise level t is not asked.
  """
  seen = classifier.look(classifier.params, images)
  return pose.probabilities(classifier.templates, *seen, cfg.temperature, cfg.parts)
