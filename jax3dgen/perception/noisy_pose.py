"""Which side of an object a noisy picture shows: a classifier that is told the noise level.

For a rectifier that sees x_t itself (config.distill.sees=noisy), with no denoiser to differentiate
through: p(pose | x_t) by the embedded prior's schedule, where all poses are equally frequent. It
was trained on figurines whose poses are known: ground truth, far stronger than what templates tell.
How well it tells them is on the card beside its weights. What the prompt names means nothing to it.
Axes: B images.
"""

from importlib import resources
from pathlib import Path

import jax
import jax.numpy as jnp

from jax3dgen.core import image, weights
from jax3dgen.core.errors import ConfigError
from jax3dgen.nn import noisy_pose as nets
from jax3dgen.perception import templates
from jax3dgen.prior import embedded

POSES = templates.POSES


def shipped():
  """The folder of the weights that come with the package."""
  return Path(str(resources.files('jax3dgen') / 'assets' / 'noisy_pose'))


def read(folder=None):
  """Parameters of a folder of weights (None: the shipped one), its sha256 checked."""
  folder = folder or shipped()
  weights.check_seal(folder, ('weights.safetensors', 'config.json'))
  return weights.load(folder / 'weights.safetensors')


def load(prompt, cfg, attention=None):
  """The arrays of `classify`, the same for every prompt; cfg.poses must ask for no other poses.

  Nothing has to be found in a picture, so that `attention` is not asked.
  """
  if cfg.poses and tuple(cfg.poses.split()) != POSES:
    raise ConfigError(f'config.distill.poses={cfg.poses!r}: noisy_pose tells {", ".join(POSES)} '
                      'apart, each alone and in this order.')
  return read()


def classify(params, images, t, cfg):
  """p(pose | image) [B, 4], in the order of POSES, of images [B, H, W, 3] at noise levels t [B].

  images are decoded x_t, in [0, 1] where t is 0; larger ones are resized.
  """
  return jax.nn.softmax(logits(nets.of(params), params, images, t))


def logits(net, params, images, t):
  """Logits [B, 4] by `net`; a picture without noise counts as one of the least noise trained on."""
  x_t = 2.0 * image.resize(images, (nets.SIZE, nets.SIZE)) - 1.0
  return net.apply({'params': params}, x_t, jnp.clip(t, *embedded.SCHEDULE.safe_range))
