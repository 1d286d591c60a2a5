"""RecDreamer's pose classifier: similarity to K pose templates (Appendix B.1).

A self-supervised vision transformer gives each image a class token and a map of patch features. The
texture similarity compares class tokens; the orientation similarity is high where similar patches
have the same horizontal position on the object. No weights are trained here.

Axes: B images, K templates, A augmented copies of a template, h and w rows and columns of the patch
map, C channels, N = h w.
"""

import chex
from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import extremum
from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Array

SHARP = 0.01  # temperature of patch matching
PARTS = ('both', 'texture', 'orientation')
FORMS = ('matched', 'printed', 'hybrid')


@struct.dataclass
class Templates:
  """K poses: tokens [K, C], patches [K, h, w, C], masks [K, h, w] of the object. Foreground patches
  are those whose projection on axis [C] exceeds center [].
  """
  tokens: Array
  patches: Array
  masks: Array
  axis: Array
  center: Array


def from_features(tokens, patches, objects=None):
  """The Templates of augmented copies: tokens [K, A, C], patches [K, A, h, w, C], on the host.

  `objects` [K, h, w] bool is a rough mask of the object (for example a prior's attention); without
  it, the border of the images counts as background. ConfigError where there are fewer than two
  templates or their shapes disagree.
  """
  tokens, patches = np.asarray(tokens, np.float64), np.asarray(patches, np.float64)
  agree = tokens.shape[:2] == patches.shape[:2] and tokens.shape[2] == patches.shape[-1]
  if len(tokens) < 2 or not agree:
    raise ConfigError(f'Pose templates must be 2 or more, with features of one kind; got tokens '
                      f'{tokens.shape} and patches {patches.shape}.')
  flat = patches.reshape(-1, patches.shape[-1])
  axis = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][0]
  mean = patches.mean(1)
  if objects is None:
    objects = np.zeros(mean.shape[:3], bool)
    objects[:, 1:-1, 1:-1] = True
  along = mean @ axis
  if along[objects].mean() < along[~objects].mean():
    axis = -axis
  templates = Templates(tokens.mean(1), mean, None, axis, (flat @ axis).mean())
  templates = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), templates)
  return templates.replace(masks=foreground(templates, templates.patches))


def foreground(templates, patches):
  """Object masks [B, h, w] of patches [B, h, w, C]; an empty mask becomes all true.

  True where the projection on the first principal component of the templates' patches exceeds its
  mean (in the paper, where the sigmoid of the normalised projection exceeds 1/2). No gradient.
  """
  along = jax.lax.stop_gradient(patches) @ templates.axis
  mask = along > templates.center
  return mask | ~mask.any((1, 2), keepdims=True)


def probabilities(templates, token, patches, temperature=0.05, parts='both', form='matched'):
  """p(k | image) [B, K] from tokens [B, C] and patches [B, h, w, C]; each image by itself.

  A softmax at `temperature` (0.05 in the paper, 0.01 in its code) of the product of both
  similarities. `parts` selects one similarity (RecDreamer Table 6). `form` is one of FORMS:
  'matched' as in the authors' code; 'printed', the paper's Eqs. 15 to 17 to the letter, whose
  orientation hardly depends on the orientation; 'hybrid', ours, the orientation of Eq. 16 with the
  code's texture, scaling and normalisation.
  """
  joint = similarity(templates, token, patches, parts, form)
  if form != 'printed':
    joint = joint / joint.sum(-1, keepdims=True)
  return jax.nn.softmax(joint / temperature, -1)


def similarity(templates, token, patches, parts='both', form='matched'):
  """The product of both similarities [B, K] in `probabilities`, with its arguments."""
  chex.assert_rank([token, patches], [2, 4])
  for name, value, choices in (('parts', parts, PARTS), ('form', form, FORMS)):
    if value not in choices:
      raise ConfigError(f'{name}={value!r} is none of {", ".join(choices)}.')
  joint = jnp.ones((len(token), len(templates.tokens)))
  if parts != 'orientation':
    cosine = texture(templates, token)
    joint = joint * (cosine if form == 'printed' else 0.5 * (1.0 + cosine))
  if parts != 'texture':
    joint = joint * orientation(templates, patches, form)
  return joint


def texture(templates, token):
  """The cosine of the class tokens (RecDreamer Eq. 15): [B, K]."""
  unit = lambda x: x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x**2, -1, keepdims=True), 1e-12))
  return unit(token) @ unit(templates.tokens).T


def orientation(templates, patches, form='matched'):
  """1 minus the mean horizontal distance of similar patches on the object: [B, K]."""
  masks = foreground(templates, patches)
  image, reference = (x.reshape(len(x), -1, x.shape[-1]) for x in (patches, templates.patches))
  if form != 'printed':
    image, reference = unit_range(image), unit_range(reference)
  of = jax.vmap(lambda *arguments: _distance(*arguments, form), (0, 0, 0, None, None, None))
  each = lambda template, mask, across: of(
      image, masks.reshape(len(masks), -1), places(masks), template, mask, across)
  return 1.0 - jax.vmap(each)(reference, templates.masks.reshape(len(reference), -1),
                              places(templates.masks)).T


def unit_range(features):
  """Features [B, N, C] scaled to [0, 1], image by image."""
  low, high = (jax.vmap(bound)(features)[:, None, None]
               for bound in (extremum.lowest, extremum.highest))
  return (features - low) / jnp.maximum(high - low, 1e-12)


def places(masks):
  """Horizontal coordinates [B, N] on the object: -1/2 at the leftmost column of the mask [B, h, w],
  1/2 at the rightmost."""
  columns = masks.any(1)
  width = masks.shape[2]
  first = jnp.argmax(columns, -1)
  last = width - 1 - jnp.argmax(columns[:, ::-1], -1)
  across = (jnp.arange(width)[None] - first[:, None]) / jnp.maximum(last - first, 1)[:, None] - 0.5
  return jnp.broadcast_to(across[:, None], masks.shape).reshape(len(masks), -1)


def _distance(image, mask, across, template, template_mask, template_across, form):
  """The mean horizontal distance of patches [N, C] of an image and of a template.

  Matched: each patch of the image against its soft matches in the template. Otherwise all pairs
  weigh one minus a softmax over the patches of the template: as printed in B.1.2, of the distances
  of features; in the hybrid form, of the negative ones, so that similar patches weigh less.
  """
  dot = jnp.matmul(image, template.T, precision='highest')
  square = jnp.sum(image**2, -1)[:, None] + jnp.sum(template**2, -1)[None] - 2 * dot
  distance = jnp.sqrt(jnp.maximum(square, 1e-12))
  sign = 1.0 if form == 'printed' else -1.0
  softmax = jax.nn.softmax(jnp.where(template_mask[None], sign * distance / SHARP, -jnp.inf), -1)
  gap = jnp.abs(across[:, None] - template_across[None])
  share = mask / jnp.maximum(mask.sum(), 1)
  if form == 'matched':
    return jnp.sum(share[:, None] * softmax * gap)
  pairs = share[:, None] * template_mask[None] / jnp.maximum(template_mask.sum(), 1)
  return jnp.sum(pairs * (1.0 - softmax) * gap)
