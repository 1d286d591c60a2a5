"""Pose templates from images, and the pose classifier of objectives that compares with them.

A folder holds images of one object from two or more sides, named by pose: front.png, front-2.png,
left.png ... They may be renders, photographs or sketches. Objectives call `load` and `classify`;
poses are in counter-clockwise order, as in `distill.base.sector`.
"""

import dataclasses
from importlib import resources
from pathlib import Path
import re
from typing import Any

import chex
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
OTHERS = ('sketches', 'turned')  # shipped line drawings, and images with an azimuth error
SAMPLED = 'prior'  # config.distill.templates for pictures that the run samples from its prior
SMALLEST = 16  # smallest image, in pixels per side
SIDE, MAP = 560, 16  # pixels of a DINOv2's input, patches per side of its resized map (RecDreamer)
TURN_DEG = 20  # azimuth error of the turned images
COPIES = 32  # augmented copies of each pose
CHUNK = 16  # copies whose features are computed together
HUE, TONE = 0.6, 0.2  # jitter of the copies for the patches: radians, and share
SHIFT, SCALE, SHEAR = 0.2, 0.2, 0.05  # random crops of the copies for the class token
NOISE, GREY_SHARE = 0.1, 0.2  # spread of the noise in half of those, and share without colour


@dataclasses.dataclass(frozen=True)
class Extractor:
  """(params, images [B, H, W, 3] in [0, 1]) -> Features of the images at `size` pixels per side,
  with patches resized to a map of `patches` per side unless that is 0."""
  apply: features.Apply
  size: int
  patches: int = 0

  def __call__(self, params, images):
    output = self.apply(params, image.resize(images, (self.size, self.size)))
    if not self.patches:
      return output
    shape = (len(images), self.patches, self.patches, output.patches.shape[-1])
    resized = jax.image.resize(output.patches, shape, 'linear', antialias=False)
    return output._replace(patches=resized)


@struct.dataclass
class Classifier:
  """The parameters of a network, pose.Templates of its features, and the (static) Extractor."""
  params: Any
  templates: Any
  extract: Extractor = struct.field(pytree_node=False)


def load_extractor(path=''):
  """(Extractor, parameters) of the features in the folder `path`; '': the shipped network."""
  apply, params = features.load(path or None)
  return (Extractor(apply, apply.size) if apply.size else Extractor(apply, SIDE, MAP)), params


def folder():
  """The folder of the shipped images: one folder per kind, and OTHERS."""
  return Path(str(resources.files('jax3dgen') / 'assets' / 'pose_templates'))


def read(path, size=features.SIZE):
  """(poses, pictures) of the PNGs in a folder: names out of POSES, in that order, and for each
  its pictures [n, S, S, 3] in [0, 1], `size` pixels per side.

  ConfigError for images of fewer than two poses, or one that is not named by a pose (front.png,
  front-2.png), not square, smaller than SMALLEST pixels, or damaged.
  """
  path = Path(path)
  pictures = {name: [] for name in POSES}
  for file in sorted(path.glob('*.png')):
    name = re.sub(r'-\d+$', '', file.stem)
    if name not in pictures:
      raise ConfigError(f'{file} is not named by a pose; pose templates are named '
                        f'{", ".join(POSES)}, further ones of a pose front-2 and so on.')
    pictures[name].append(_picture(file, size))
  pictures = {name: np.stack(images) for name, images in pictures.items() if images}
  if not pictures:
    raise ConfigError(f'{path} holds no pose templates: PNG files named '
                      f'{", ".join(f"{name}.png" for name in POSES)}.')
  if len(pictures) < 2:
    raise ConfigError(f'{path} holds pictures of one pose alone, {"".join(pictures)}; a classifier '
                      'needs two or more.')
  return tuple(pictures), tuple(pictures.values())


def _picture(file, size):
  """A PNG file as [S, S, 3] in [0, 1]; transparent pixels become white."""
  try:
    with Image.open(file) as png:
      pixels = np.asarray(png.convert('RGBA'), np.float32) / 255
  except (OSError, SyntaxError, ValueError) as error:
    raise ConfigError(f'{file} is not a complete PNG image.') from error
  if pixels.shape[0] != pixels.shape[1] or len(pixels) < SMALLEST:
    raise ConfigError(f'{file} has {pixels.shape[1]} x {pixels.shape[0]} pixels; a pose template '
                      f'is square, with {SMALLEST} pixels or more per side.')
  alpha = pixels[..., 3:]
  on_white = pixels[..., :3] * alpha + 1.0 - alpha
  return np.clip(image.resize(jnp.asarray(on_white)[None], (size, size))[0], 0.0, 1.0)


def augment_copies(key, pictures):
  """Augmented copies of pictures [A, S, S, 3]: (for the class token, for the patches).

  As in the authors' code, copies for the patches change colours only, so that the map stays sharp;
  those for the class token are cropped, noisy and partly grey.
  """
  count = len(pictures)
  k_amounts, k_noise = jax.random.split(key)
  u = jax.random.uniform(k_amounts, (12, count), minval=-1.0)
  tone = lambda x: 1.0 + TONE * x
  coloured = augment.recolour(pictures, augment.colour_matrix(HUE * u[0], tone(u[1])), tone(u[2]),
                                tone(u[3]))
  crops = augment.apply_crop(pictures, augment.Crop(SHIFT * u[4:6].T, 1.0 + SCALE * u[6:8].T,
                                                 SHEAR * u[8]))
  noise = NOISE * (u[9] > 0)[:, None, None, None] * jax.random.normal(k_noise, pictures.shape)
  crops = augment.to_grey(crops, u[10] < 2 * GREY_SHARE - 1)
  return jnp.clip(crops + noise, 0.0, 1.0), coloured


def build(key, extract, params, pictures, copies=COPIES, attention=None):
  """The pose.Templates of the pictures of each pose (a sequence of [n, S, S, 3]), averaged over
  `copies` augmented copies of each pose, with the features of extract(params, images).

  `attention` (images [n, S, S, 3]) -> [n, h, w] is larger on the object; None: the border of the
  images counts as background.
  """
  cycle = lambda x: jnp.asarray(x)[np.arange(copies) % len(x)]
  parts = [_features(extract, params, *_copies(rng.stream(key, str(i)), cycle(x)))
           for i, x in enumerate(pictures)]
  tokens, patches = (np.stack(x) for x in zip(*parts, strict=True))
  if attention is None:
    return pose.from_features(tokens, patches)
  maps = np.stack([np.mean(attention(x), 0) for x in pictures])
  maps = jax.image.resize(maps, (len(maps), *patches.shape[2:4]), 'linear')
  return pose.from_features(tokens, patches, np.asarray(maps > maps.mean((1, 2), keepdims=True)))


_copies = jax.jit(augment_copies)
_extract = jax.jit(lambda extract, params, images: extract(params, images), static_argnums=0)


def _features(extract, params, for_token, for_patches):
  """(class tokens [A, C], patches [A, h, w, C]) of the copies of one pose, on the host."""
  both = np.concatenate([for_token, for_patches])
  parts = [_extract(extract, params, both[i:i + CHUNK]) for i in range(0, len(both), CHUNK)]
  token, patches = (np.concatenate(x) for x in zip(*parts, strict=True))
  return token[:len(for_token)], patches[len(for_token):]


def folder_of(prompt, name):
  """The folder of templates of the config field `name`: a path, or '' or one of OTHERS for the
  shipped images of the kind in the prompt. ConfigError where there is none."""
  if name not in ('', *OTHERS):
    if not Path(name).is_dir():
      raise ConfigError(f'config.distill.templates={name!r} is no folder of pose templates.')
    return Path(name)
  kinds = sorted(p.name for p in folder().iterdir() if p.is_dir() and p.name not in OTHERS)
  matches = words.with_synonyms(prompt) & set(kinds)
  if len(matches) != 1:
    raise ConfigError(f'The prompt names {"no" if not matches else "more than one"} kind that pose '
                      f'templates are shipped for ({", ".join(kinds)}): with config.distill.'
                      f'templates={SAMPLED!r} a run samples them from its prior; or name a folder '
                      'of your own there.')
  return folder() / name / matches.pop()


def load(prompt, cfg, attention=None):
  """The Classifier for a prompt, deterministic for the same images.

  cfg.templates is a folder, or '' for the shipped images of the kind in the prompt, 'sketches' for
  line drawings of them, or 'turned' for images with an azimuth error of TURN_DEG. With SAMPLED, all
  its arrays but the parameters are zeros, for `from_folder` to replace. cfg.features is a folder of
  a DINOv2, or '' for the shipped network. For cfg.poses and `attention` see `from_folder`.
  """
  if cfg.templates == SAMPLED:
    return _blank(*load_extractor(cfg.features), len(groups(cfg.poses, POSES, 'the prior')))
  path = folder_of(prompt, cfg.templates)
  return from_folder(*load_extractor(cfg.features), path, cfg, attention)


def from_folder(extract, params, path, cfg, attention=None):
  """The Classifier of the pictures in the folder `path`; ConfigError where they do not fit.

  cfg.poses groups the poses into classes (see `groups`). `attention` is that of `build`: the
  prior's, of the prompt's words, where it has one.
  """
  by_pose = dict(zip(*read(path, extract.size), strict=True))
  if cfg.control and not cfg.poses and tuple(by_pose) != POSES:
    raise ConfigError(f'config.distill.control needs {", ".join(POSES)}, but {path} holds '
                      f'only {", ".join(by_pose)}: name them in config.distill.poses.')
  pictures = [np.concatenate([by_pose[name] for name in group])
              for group in groups(cfg.poses, by_pose, path)]
  pose_templates = build(jax.random.key(0), extract, params, pictures, attention=attention)
  return Classifier(params, pose_templates, extract)


def _blank(extract, params, count):
  """A Classifier of `count` poses with zeros for templates."""
  image = jax.ShapeDtypeStruct((count, extract.size, extract.size, 3), jnp.float32)
  tokens, patches = (jnp.zeros(x.shape, jnp.float32)
                     for x in jax.eval_shape(extract, params, image))
  return Classifier(params, pose.Templates(
      tokens, patches, jnp.zeros(patches.shape[:3], bool), jnp.zeros(tokens.shape[1]),
      jnp.zeros(())), extract)


def groups(poses, names, source):
  """The classes of poses that `poses` names ('front left+right back'; '': each of `names` alone),
  [[name]]; `source` has pictures of `names`. ConfigError for other poses, or one class alone."""
  classes = [group.split('+') for group in poses.split()] or [[name] for name in names]
  listed = [name for group in classes for name in group]
  for name in listed:
    if name not in names:
      raise ConfigError(f'config.distill.poses={poses!r}: {source} has no template of {name!r}, '
                        f'only of {", ".join(names)}.')
  if len(classes) < 2 or len(set(listed)) < len(listed):
    raise ConfigError(f'config.distill.poses={poses!r} is not two or more different poses.')
  return classes


def classify(classifier, images, t, cfg):
  """p(pose | image) [B, K] of images [B, H, W, 3] in [0, 1], poses in the order of `read`.

  cfg.temperature, cfg.parts and cfg.form are those of `pose.probabilities`; the noise level t is
  not used.
  """
  chex.assert_shape(images, (None, None, None, 3))
  output = classifier.extract(classifier.params, images)
  return pose.probabilities(classifier.templates, *output, cfg.temperature, cfg.parts, cfg.form)
