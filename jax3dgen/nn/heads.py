"""Small dense networks behind an encoding, points last: x [C, N] -> [D, N].

Points last keeps every activation one contiguous row per channel, which is how the hash grid
delivers its features and how the renderer consumes densities and colours. No biases, as in
threestudio: a code of zeros means the field's own bias and grey.
"""

import jax


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
    x = params[f'w{i}'] @ (jax.nn.relu(x) if i else x)
  return x
