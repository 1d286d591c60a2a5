"""Small dense networks after an encoding, points last: x [C, N] -> [D, N].

Points last keeps every activation one contiguous row per channel, which is how the hash grid
returns its features and how the renderer reads densities and colours. No biases, as in
threestudio: for a code of zeros, density is the field's bias and colour is grey.
"""

import jax
import jax.numpy as jnp


def init(key, widths):
  """Weights {'w0' [D, C], 'w1', ...} of layers widths[0] -> ... -> widths[-1].

  Uniform in +-1 / sqrt(inputs).
  """
  keys = jax.random.split(key, len(widths) - 1)
  return {f'w{i}': jax.random.uniform(k, (outputs, inputs), minval=-inputs**-0.5,
                                      maxval=inputs**-0.5)
          for i, (k, inputs, outputs) in enumerate(zip(keys, widths[:-1], widths[1:]))}


def apply(params, x):
  """x [C, N] -> [D, N]: dense layers with ReLU between them, none after the last."""
  for i in range(len(params)):
    x = dense(params[f'w{i}'], jax.nn.relu(x) if i else x)
  return x


@jax.custom_vjp
def dense(weight, x):
  """weight [D, C] @ x [C, N], with a backward pass in the matrix products that are fast on CPUs.

  Those are plain a @ b with the weight on the left, and a @ b.T with the larger on the left; the
  products of autodiff, with a transposed left side, take up to twice as long.
  """
  return weight @ x


def _dense_bwd(residuals, cotangent):
  weight, x = residuals
  if cotangent.shape[0] >= x.shape[0]:
    weight_bar = cotangent @ x.T
  else:
    weight_bar = _transpose(x @ cotangent.T)
  return weight_bar, _transpose(weight) @ cotangent


def _transpose(matrix):
  """The transposed matrix, made by a product so that XLA cannot fold it into the next one."""
  identity = jnp.eye(matrix.shape[0], dtype=matrix.dtype)
  return jax.lax.dot_general(matrix, identity, (((0,), (0,)), ((), ())),
                             precision=jax.lax.Precision.HIGHEST)


dense.defvjp(lambda weight, x: (dense(weight, x), (weight, x)), _dense_bwd)
