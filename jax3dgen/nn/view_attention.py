"""What the self-attention of a multi-view net reads: own positions, other views, a reference.

Reference attention (Shi et al. 2023, zero123++): a first pass over the noised reference stores the
inputs of all self-attention layers; in the pass over the views they are more keys and values of the
same layers, through the layers' own projections. Joint attention (MVDream, Shi et al. 2023): the
positions of all views of an object attend to one another.

Axes: N objects, V views, B = N V images in the order of objects, P and Q positions of a view and of
a reference, C channels.
"""

import jax.numpy as jnp


def views_and_reference(states, views, reference=None, keep=None, joint=True):
  """What attends [A, M, C], its context [A, K, C] and the mask [A, K] or None of a layer.

  states [B, P, C]; reference [N, Q, C], or None for no reference; keep [N] bool, False where the
  views of an object do not attend to it, or None for everywhere. The rows A are objects, M = V P,
  where the attention is `joint`, else views, M = P; K = M + Q.
  """
  if joint:
    states = states.reshape(-1, views * states.shape[1], states.shape[2])
  if reference is None:
    return states, states, None
  if not joint:
    reference = jnp.repeat(reference, views, 0)
    keep = None if keep is None else jnp.repeat(keep, views)
  context = jnp.concatenate([states, reference], 1)
  if keep is None:
    return states, context, None
  masks = [jnp.broadcast_to(flag[:, None], x.shape[:2])
           for flag, x in ((jnp.ones_like(keep), states), (keep, reference))]
  return states, context, jnp.concatenate(masks, 1)
