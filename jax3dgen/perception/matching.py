"""Matches of two images: by LoFTR with its outdoor weights (Sun et al. 2021), or by features."""

from pathlib import Path

import jax
import jax.numpy as jnp

from jax3dgen.formats import convert, rules_loftr
from jax3dgen.nn import loftr
from jax3dgen.perception import augment, contrastive


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


def count(matches):
  """The number [B] of valid loftr.Matches."""
  return matches.mask.sum(-1)


def count_mutual(first, second, temperature=0.1, threshold=0.2):
  """The number [B] of mutual nearest patches of dense features [B, ..., C], of any two grids.

  LoFTR's selection (dual softmax of cosines, mutual, confidence above the threshold) on features
  of another network, for where its weights are not at hand.
  """
  size = first.shape[-1]  # by which `loftr.confidences` divides
  rows = lambda x: size**0.5 * contrastive.unit(x.reshape(len(x), -1, size))
  confidence = loftr.confidences(rows(first), rows(second), temperature)
  return loftr.mutual(confidence, threshold).sum((1, 2))
