"""A pose classifier p(pose | x_t) of noisy images, conditioned on the noise level.

For a rectifier on x_t itself (config.distill.sees=noisy), without differentiation through the
denoiser. Noise levels are those of the embedded prior's schedule; the class prior is uniform. It
was trained on figurines with ground-truth poses, stronger supervision than templates, and does not
depend on the prompt; its accuracy is on the card beside its weights. Axes: B images.
"""

from importlib import resources
from pathlib import Path

import chex
import jax
import jax.numpy as jnp

from jax3dgen.core import image, weights
from jax3dgen.core.errors import ConfigError
from jax3dgen.nn import noisy_pose as nets
from jax3dgen.perception import templates
from jax3dgen.prior import embedded

POSES = templates.POSES


def shipped():
  """The folder of the shipped weights."""
  return Path(str(resources.files('jax3dgen') / 'assets' / 'noisy_pose'))


def read(folder=None):
  """Parameters of a folder of weights (None: the shipped one), its sha256 checked."""
  folder = folder or shipped()
  weights.check_seal(folder, ('weights.safetensors', 'config.json'))
  return weights.load_tree(folder / 'weights.safetensors')


def load(prompt, cfg, attention=None):
  """The parameters of `classify`, the same for every prompt; `attention` is not used.

  ConfigError where cfg.poses has other poses.
  """
  if cfg.poses and tuple(cfg.poses.split()) != POSES:
    raise ConfigError(f'config.distill.poses={cfg.poses!r}: noisy_pose has the classes '
                      f'{", ".join(POSES)} in this order.')
  return read()


def classify(params, images, t, cfg):
  """p(pose | image) [B, 4], in the order of POSES, of images [B, H, W, 3] at noise levels t [B].

  images are decoded x_t, in [0, 1] where t is 0; larger ones are resized.
  """
  chex.assert_shape([images, t], [(None, None, None, 3), (len(images),)])
  return jax.nn.softmax(logits(nets.of(params), params, images, t))


def logits(net, params, images, t):
  """Logits [B, 4] by `net`; t is clipped to the noise levels of the training."""
  x_t = 2.0 * image.resize(images, (nets.SIZE, nets.SIZE)) - 1.0
  return net.apply({'params': params}, x_t, jnp.clip(t, *embedded.SCHEDULE.safe_range))
