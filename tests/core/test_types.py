"""Floating dtypes in the notations of JAX, NumPy and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jax3dgen.core import types
from jax3dgen.core.errors import ConfigError


@pytest.mark.parametrize('name, notations', [
    ('bfloat16', (jnp.bfloat16, 'bfloat16', 'bf16', 'BF16', jnp.dtype('bfloat16'), 'jnp.bfloat16',
                  torch.bfloat16, 'torch.bfloat16', jnp.zeros(1, jnp.bfloat16).dtype)),
    ('float16', (jnp.float16, np.float16, 'float16', 'fp16', 'f16', 'half', np.dtype('f2'), '<f2',
                 torch.half)),
    ('float32', (jnp.float32, np.float32, 'float32', 'fp32', 'f32', 'f4', float, 'float',
                 np.dtype('float32'), torch.float32))])
def test_every_notation(name, notations):
  for value in notations:
    assert types.float_dtype(value) == jnp.dtype(name), value


@pytest.mark.parametrize('value', [None, 'float8', 'int32', int, jnp.int8, np.bool_, '', 32, 'x',
                                   jnp.float8_e4m3fn, object(), torch.int8, jnp.complex64])
def test_other_dtypes_are_refused(value):
  with pytest.raises(ConfigError, match='no floating dtype; those are float32, bfloat16'):
    types.float_dtype(value)


def test_double_precision_needs_64_bits():
  with jax.enable_x64(True):
    assert types.float_dtype(np.float64) == np.float64
  with jax.enable_x64(False), pytest.raises(ConfigError, match='JAX_ENABLE_X64=1'):
    types.float_dtype('double')
