"""A multiresolution hash grid in PyTorch as its users write it: int64 rows, index_select, autograd.

The peer of `benchmarks.hashgrid`: the lattices, hash and weights of `jax3dgen.nn.hashgrid`, with a
table per level and the 8 corners gathered at once, so that autograd's backward is one index_add_
into one level's rows.
"""

import itertools

import torch

PRIMES = torch.tensor([1, 2654435761, 805459861])
CORNERS = torch.tensor([c[::-1] for c in itertools.product((0, 1), repeat=3)])  # [8, 3]


def encode(tables, xyz, levels):
  """Features [N, L F] at xyz [N, 3] in [-1, 1]^3 of tables [rows, F]; levels as in HashGrid."""
  unit = (0.5 * (xyz + 1.0)).clamp(0.0, 1.0)
  out = []
  for table, (resolution, _, rows, dense) in zip(tables, levels):
    scaled = unit * resolution
    cell = scaled.floor().clamp(max=resolution - 1)
    part = (scaled - cell)[:, None]
    place = cell.long()[:, None] + CORNERS  # [N, 8, 3]
    if dense:
      side = resolution + 1
      row = place[..., 0] + side * (place[..., 1] + side * place[..., 2])
    else:
      hashed = place * PRIMES
      row = (hashed[..., 0] ^ hashed[..., 1] ^ hashed[..., 2]) % rows
    weight = torch.where(CORNERS.bool(), part, 1.0 - part).prod(-1, keepdim=True)  # [N, 8, 1]
    corner = table.index_select(0, row.reshape(-1)).reshape(weight.shape[:2] + (-1,))
    out.append((weight * corner).sum(1))
  return torch.cat(out, -1)


def forward_backward(tables, xyz, levels, cotangent):
  """(features, gradients of <features, cotangent> by the tables)."""
  tables = [table.detach().requires_grad_(True) for table in tables]
  out = encode(tables, xyz, levels)
  return out.detach(), torch.autograd.grad(out, tables, cotangent)
