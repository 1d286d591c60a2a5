"""Point correspondences of two images by LoFTR with its outdoor weights (Sun et al. 2021)."""

from pathlib import Path

import jax
import jax.numpy as jnp

from jax3dgen.formats import convert, rules_loftr
from jax3dgen.nn import loftr
from jax3dgen.perception import augment


def load(path, most=1024):
  """(apply, params): apply(params, first, second) -> loftr.Matches, the `most` most confident ones.

  Images are [B, H, W, 3] in [0, 1], of any two sizes whose sides are multiples of 8; places are
  (x, y) in their pixels. `path` is a safetensors file, or a folder of one, with the tensors of the
  authors' outdoor_ds.ckpt or of kornia's copy of it.
  """
  net = loftr.Loftr(most=most)
  image = jnp.zeros((1, 64, 64, 1))
  target = jax.eval_shape(net.init, jax.random.key(0), image, image)['params']
  grey = lambda x: (x * augment.GREY.reshape(1, 1, 1, 3)).sum(-1, keepdims=True)
  apply = lambda params, first, second: net.apply({'params': params}, grey(first), grey(second))
  return apply, convert.load_tree(Path(path), rules_loftr.RULES, target)
