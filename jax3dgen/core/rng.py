"""Random keys by name. A step's key is a function of (seed, step), so no key is stored.

`shared` is drawn before the device index is folded in and is equal on all devices; `local` differs
on each device.
"""

import zlib

import jax


def stream(key, name):
  """The key of the stream called `name` (a string)."""
  return jax.random.fold_in(key, zlib.crc32(name.encode()) & 0x7FFFFFFF)


def at_step(seed, step):
  """The key of training step `step` [] int32 for an integer or traced `seed`."""
  return jax.random.fold_in(jax.random.key(seed), step)


def on_device(key, axis_name=None):
  """The key of this device within a mapped axis; `key` itself where nothing is mapped."""
  return key if axis_name is None else jax.random.fold_in(key, jax.lax.axis_index(axis_name))
