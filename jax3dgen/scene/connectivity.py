"""Connectivity of a padded triangle mesh, under jit. Axes: V vertices, F faces."""

import jax
import jax.numpy as jnp

ROUNDS = 16  # of pairing; each leaves fewer edges than the load of the table, about an eighth


def twins(faces, mask):
  """The half-edge [F, 3] int32 that runs opposite to each half-edge, or -1 where there is none.

  Half-edge 3 f + k goes from corner k of face f to corner k + 1. An edge of more than two faces is
  paired in any order. Half-edges are paired through a hash table: those that share a slot with
  another edge stay for the next round, with another hash; this is several times faster than to sort
  them.
  """
  faces = jnp.asarray(faces)
  start, end = faces.reshape(-1), jnp.roll(faces, -1, 1).reshape(-1)
  low, high = jnp.minimum(start, end).astype(jnp.uint32), jnp.maximum(start, end).astype(jnp.uint32)
  size = len(start)
  bits = max(size - 1, 1).bit_length() + 2
  half = jnp.arange(size, dtype=jnp.int32)

  def rest(state):
    _, open_, turn = state
    return open_.any() & (turn < ROUNDS)

  def step(state):
    twin, open_, turn = state
    mixed = (low + turn * jnp.uint32(0x85EBCA6B)) * jnp.uint32(0x9E3779B1)
    mixed = (mixed ^ (mixed >> 15) ^ high) * jnp.uint32(0xC2B2AE3D)
    place = ((mixed ^ (mixed >> 16)) * jnp.uint32(0x27D4EB2F) >> (32 - bits)).astype(jnp.int32)
    put = jnp.where(open_, place, 2**bits)
    first = jnp.full(2**bits, size, jnp.int32).at[put].min(half, mode='drop')[place]
    last = jnp.full(2**bits, -1, jnp.int32).at[put].max(half, mode='drop')[place]
    other = jnp.where(half == first, last, first)
    safe = jnp.clip(other, 0, size - 1)
    paired = (open_ & ((half == first) | (half == last)) & (start[safe] == end)
              & (end[safe] == start))
    alone = (first == last)  # no other half-edge is left in this slot
    return jnp.where(paired, other, twin), open_ & ~paired & ~alone, turn + 1

  first = jnp.repeat(mask, 3) & (start != end)
  twin, _, _ = jax.lax.while_loop(rest, step, (jnp.full(size, -1, jnp.int32), first, jnp.uint32(0)))
  return twin.reshape(-1, 3)


def links(faces):
  """The edges [3 F, 2] of a closed mesh in both directions; those of padding join a vertex to
  itself."""
  return jnp.stack([faces, jnp.roll(faces, -1, 1)], -1).reshape(-1, 2)
