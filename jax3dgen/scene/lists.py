"""Lists of a fixed length that are computed from counts, under jit."""

import jax.numpy as jnp


def expand(counts, size):
  """The list in which item i of counts [N] (int32, >= 0) is repeated counts[i] times.

  Returns (item [size], place [size], valid [size], total []): entry j is repetition `place[j]` of
  `item[j]`. Entries beyond the end have item N - 1 and are not valid; `total` is the length before
  it was cut at `size`. Counts of 0 and 1 give the indices where they are 1.
  """
  ends = jnp.cumsum(counts)
  entry = jnp.arange(size, dtype=jnp.int32)
  item = jnp.minimum(jnp.searchsorted(ends, entry, side='right'), len(counts) - 1)
  item = item.astype(jnp.int32)
  return item, entry - (ends[item] - counts[item]), entry < ends[-1], ends[-1]
