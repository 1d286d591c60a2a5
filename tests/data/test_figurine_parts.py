"""The tables of primitives hold what the figurines say, and every figurine can be told apart."""

import numpy as np
import pytest

from jax3dgen.data import figurine_parts as parts


@pytest.mark.parametrize('kind', range(len(parts.KINDS)))
def test_tables_hold_every_part(kind):
  rows = []
  for shape, table in parts.TABLES.items():
    for p in np.flatnonzero(table.region[kind]):
      numbers = [*table.center[kind, p], *table.size[kind, p], *table.paint[kind, p]]
      rows.append(tuple(np.round(numbers, 5)) + (shape, table.region[kind, p]))
  expected = [tuple(np.round(np.float32([*p.center, *p.size, *p.paint]), 5)) + (p.shape, p.region)
              for p in parts.PARTS[kind]]
  assert sorted(rows, key=repr) == sorted(expected, key=repr)


@pytest.mark.parametrize('kind', range(len(parts.KINDS)))
def test_every_figurine_has_every_region_once(kind):
  regions = [part.region for part in parts.PARTS[kind]]
  assert set(regions) == set(range(1, len(parts.REGIONS)))
  assert regions.count(parts.LEFT) == regions.count(parts.RIGHT) == 1
  for part in parts.PARTS[kind]:
    if part.region == parts.LEFT:
      assert part.paint == parts.CYAN and part.center[1] > 0
    if part.region == parts.RIGHT:
      assert part.paint == parts.MAGENTA and part.center[1] < 0


def test_body_colours_differ_from_white_and_from_each_other():
  rgb = parts.COLOR_RGB
  assert (np.linalg.norm(1 - rgb, axis=-1) > 0.7).all()
  gap = np.linalg.norm(rgb[:, None] - rgb[None], axis=-1) + 10 * np.eye(len(rgb))
  assert gap.min() > 0.3
