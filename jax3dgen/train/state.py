"""What a distillation run carries from step to step; all of it is in every checkpoint."""

from typing import Any

from flax import struct
import jax
import jax.numpy as jnp

from jax3dgen.core import rng
from jax3dgen.distill.base import DistillState


@struct.dataclass
class TrainState:
  """step [] int32 counts every attempt; skipped [] int32 the updates skipped in a row because a
  gradient was not finite, skipped_total [] int32 all of them."""
  step: jax.Array
  field: Any
  field_opt: Any
  distill: DistillState
  fit_opt: Any
  skipped: jax.Array
  skipped_total: jax.Array


def init(key, field_key, field, params, distillation, tx, fit_tx, cfg):
  """The TrainState before the first step. `cfg` is config.distill, `params` the prior's; the field
  alone is drawn from `field_key`."""
  field_params = field.init(rng.stream(field_key, 'field'))
  distill = distillation.init(rng.stream(key, 'distill'), params, cfg)
  zero = jnp.zeros((), jnp.int32)
  return TrainState(zero, field_params, tx.init(field_params), distill,
                    fit_tx.init(distill.trainable), zero, zero)
