"""Point correspondences of two images: LoFTR (Sun et al. 2021), and dense features of a ViT.

The number of matches between a reference and the other views is the preference of MV-D3PO-M. Its
publication uses LoFTR, as `loftr_score` does; `score` counts mutual nearest neighbours of the patch
features of any network of `formats/features` under LoFTR's criterion, a dual softmax. Axes: N
objects, V views, S pixels per side, L and M patches of two images, C channels.
"""

from pathlib import Path

import jax
import jax.numpy as jnp

from jax3dgen.core import image
from jax3dgen.formats import convert, rules_loftr
from jax3dgen.nn import loftr
from jax3dgen.perception import augment, consistency, contrastive

SIDE = 256  # pixels per side that LoFTR gets: its coarse cells have 8, so that of 32 it sees 4 x 4
THRESHOLD, TEMPERATURE = 0.2, 0.1  # LoFTR's: least confidence, and divisor of the similarities


def load(path, most=1024):
  """(apply, params): apply(params, first, second) -> loftr.Matches, the `most` most confident ones.

  Images are [B, H, W, 3] in [0, 1], of any two sizes whose sides are multiples of 8; places are
  (x, y) in their pixels. `path` is a safetensors file, or a folder of one, with the tensors of the
  authors' outdoor_ds.ckpt or of kornia's copy of it.
  """
  net = loftr.Loftr(most=most)
  grey = jnp.zeros((1, 64, 64, 1))
  target = jax.eval_shape(net.init, jax.random.key(0), grey, grey)['params']
  grey = lambda x: (x * augment.GREY.reshape(1, 1, 1, 3)).sum(-1, keepdims=True)
  apply = lambda params, first, second: net.apply({'params': params}, grey(first), grey(second))
  return apply, convert.load_tree(Path(path), rules_loftr.RULES, target)


def count(first, second):
  """The number [...] int32 of mutual nearest neighbours of features [..., L, C] and [..., M, C].

  LoFTR's selection on cosines: a dual softmax, mutual, with a confidence above THRESHOLD.
  """
  rows = lambda x: x.shape[-1] ** 0.5 * contrastive.unit(x)  # `confidences` divides by C
  confidence = loftr.confidences(rows(first), rows(second), TEMPERATURE)
  return loftr.mutual(confidence, THRESHOLD).sum((-1, -2), dtype=jnp.int32)


def score(apply, params, references, views, slots):
  """Matches [N] of the references with the views, summed over the views other than their own.

  `apply`, `params` are those of `formats.features.load`; references [N, S, S, 3] and views [N, V,
  S, S, 3] in [0, 1]; slots [N], the references' views, of which every patch would match.
  """
  patches = lambda images: (lambda x: x.reshape(len(x), -1, x.shape[-1]))(
      apply(params, images).patches)
  first, second = patches(references), patches(views.reshape(-1, *views.shape[2:]))
  second = second.reshape(*views.shape[:2], *second.shape[1:])
  return consistency.total(count(first[:, None], second), slots)


def loftr_score(apply, params, references, views, slots):
  """Matches [N] as in `score`, by LoFTR: `apply`, `params` are those of `load`.

  Pictures are resized to SIDE pixels per side; a match counts with the confidence that LoFTR asks
  for (`loftr.Matches.mask`), at most `most` of a view.
  """
  large = lambda images: image.resize(images, (SIDE, SIDE))
  first = large(references)
  number = lambda second: apply(params, first, large(second)).mask.sum(-1, dtype=jnp.int32)
  return consistency.total(jax.lax.map(number, jnp.moveaxis(views, 1, 0)).T, slots)
