"""Small dense networks behind an encoding, points last: x [C, N] -> [D, N].

Points last keeps every activation one contiguous row per channel, which is how the hash grid
delivers its features and how the renderer consumes densities and colours.
"""

import jax
import jax.numpy as jnp


def init(key, widths):
  """Weights {'w0' [D, C], 'b0' [D], 'w1', ...} of dense layers widths[0] -> ... -> widths[-1].

  Uniform in +-1 / sqrt(inputs), biases zero.
  """
  params = {}
  keys = jax.random.split(key, len(widths) - 1)
  for i, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:])):
    bound = inputs**-0.5
    params[f'w{i}'] = jax.random.uniform(keys[i], (outputs, inputs), minval=-bound, maxval=bound)
    params[f'b{i}'] = jnp.zeros((outputs,))
  return params


def apply(params, x):
  """x [C, N] -> [D, N]: dense layers with ReLU between them, none after the last."""
  layers = len(params) // 2
  for i in range(layers):
    x = params[f'w{i}'] @ x + params[f'b{i}'][:, None]
    if i + 1 < layers:
      x = jax.nn.relu(x)
  return x
