"""LPIPS, a perceptual distance of images (Zhang et al. 2018), from published weights."""

from pathlib import Path

import jax
import jax.numpy as jnp

from jax3dgen.core.errors import ConfigError
from jax3dgen.formats import convert, rules_lpips
from jax3dgen.nn import lpips

SIDE = 64  # pixels of the image for shape inference; AlexNet cannot take much smaller ones


def load(path, net='alex'):
  """(apply, params): apply(params, a, b) -> distances [B] of images [B, H, W, 3] in [0, 1].

  `net` is 'alex' or 'vgg'. `path` is a safetensors file, or a folder of one, that holds either the
  state of lpips.LPIPS(net=net), version 0.1, or both torchvision's AlexNet or VGG16
  (features.0.weight, ...) and LPIPS' linear heads (lin0.model.1.weight, ...), in one file.
  """
  if net not in lpips.STAGES:
    raise ConfigError(f'LPIPS uses {" or ".join(lpips.STAGES)}, not {net!r}.')
  module = lpips.Lpips(net)
  image = jnp.zeros((1, SIDE, SIDE, 3))
  target = jax.eval_shape(module.init, jax.random.key(0), image, image)['params']
  apply = lambda params, a, b: module.apply({'params': params}, a, b)
  return apply, convert.load_tree(Path(path), rules_lpips.RULES, target)
