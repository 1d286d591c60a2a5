"""The training state of a distillation run; all of it is in every checkpoint."""

from typing import Any

from flax import struct
import jax
import jax.numpy as jnp

from jax3dgen.core import rng
from jax3dgen.distill.base import DistillState


@struct.dataclass
class TrainState:
  """step [] int32 counts every attempt; skipped [] int32 the updates skipped in a row because a
  gradient was not finite, skipped_total [] int32 all of them. With several particles, `field` and
  `field_opt` have a leading axis of particles."""
  step: jax.Array
  field: Any
  field_opt: Any
  distill: DistillState
  fit_opt: Any
  skipped: jax.Array
  skipped_total: jax.Array


def init(key, field_key, field, params, distillation, tx, fit_tx, cfg, particles=1):
  """The TrainState before the first step. `cfg` is config.distill, `params` the prior's; only the
  fields of the particles depend on `field_key`."""
  initial_key = rng.stream(field_key, 'field')
  if particles == 1:
    field_params = field.init(initial_key)
    field_opt = tx.init(field_params)
  else:
    field_params = jax.vmap(field.init)(jax.random.split(initial_key, particles))
    field_opt = jax.vmap(tx.init)(field_params)
  distill = distillation.init(rng.stream(key, 'distill'), params, cfg)
  zero = jnp.zeros((), jnp.int32)
  return TrainState(zero, field_params, field_opt, distill, fit_tx.init(distill.trainable), zero,
                    zero)
