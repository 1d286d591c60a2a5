"""Labels of occupancies: the judges, samples that cannot be judged, engines, DSO's own pipeline."""

import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.physics import body, native
from jax3dgen.recipes.preference import config as settings
from jax3dgen.recipes.preference import label
from jax3dgen.scene import voxels
from tests.fakes import tower_generator

R = tower_generator.R


def config(**changes):
  cfg = settings.default_config().label
  cfg.seconds = 2.0
  cfg.update(changes)
  return cfg


def towers(*leans):
  return np.asarray(tower_generator.towers(jnp.array(leans)))


def with_crumb(grid):
  """The tower with a lump apart from it, far to one side and at the height of its sole."""
  grid = grid.copy()
  grid[13:15, 6:10, 1:4] = 4.0
  return grid


def test_towers_stand_up_to_the_lean_of_their_centre_of_mass():
  leans = np.linspace(0.05, 0.6, 12)
  table = label.label(towers(*leans), config())
  expected = leans < tower_generator.STANDS
  clear = np.abs(leans - tower_generator.STANDS) > 0.06
  np.testing.assert_array_equal(table['stable_cut'][clear], expected[clear])
  np.testing.assert_array_equal(table['stable_cut'], table['rotation_deg'] < 20)
  assert table['settled'][clear].all() and (table['parts'] == 1).all()
  assert (table['reason'] == '').all()
  np.testing.assert_allclose(table['volume'], [(grid > 0).mean() for grid in towers(*leans)])
  np.testing.assert_array_equal(table['stable_largest'], table['stable_cut'])


def test_the_largest_part_is_judged_alone():
  """A second part that stands beside a falling tower holds it, as one body with it."""
  grid = with_crumb(towers(0.5)[0])
  table = label.label(grid[None], config())
  assert table['parts'][0] == 2
  assert table['stable_cut'][0] and not table['stable_largest'][0]
  alone = label.label(grid[None], config(smallest=0.5))  # the second part is dropped
  assert alone['parts'][0] == 1 and not alone['stable_cut'][0]


def test_the_parts_of_a_sample_are_computed_once(monkeypatch):
  """And its bodies are bit for bit those of a mesh for each judge."""
  grid, calls = with_crumb(towers(0.2)[0]), []
  label_parts = voxels.measure.label
  monkeypatch.setattr(voxels.measure, 'label',
                      lambda *args, **kw: calls.append(1) or label_parts(*args, **kw))
  items, parts, reason = label.bodies_of(grid, config())
  assert (len(calls), parts, reason) == (1, 2, '')
  for judge, height, which in (('cut', 0.5 / R, 'parts'), ('raw', 0.0, 'parts'),
                               ('largest', 0.5 / R, 'largest')):
    alone = body.of_surface(voxels.mesh(grid, which=which), height)
    for name in ('hull', 'mass', 'center', 'inertia'):
      np.testing.assert_array_equal(getattr(items[judge], name), getattr(alone, name))


def test_each_judge_drops_its_own_mesh():
  """Against the drop test of the meshes, cut by manifold3d, one at a time."""
  grids, cfg = [with_crumb(towers(0.2)[0]), towers(0.31)[0]], config()
  table = label.label(np.stack(grids), cfg)
  for k, grid in enumerate(grids):
    parts, largest = voxels.mesh(grid), voxels.mesh(grid, which='largest')
    for judge, mesh in (('cut', voxels.cut(parts, 0.5 / R)), ('raw', parts),
                        ('largest', voxels.cut(largest, 0.5 / R))):
      outcome = native.drop(body.from_mesh(mesh), cfg.seconds, cfg.timestep)
      assert table[f'stable_{judge}'][k] == outcome.stable
      if judge == 'cut':
        np.testing.assert_allclose(table['rotation_deg'][k], outcome.rotation_deg, atol=0.1)


def test_a_sample_that_cannot_be_judged_is_unstable_with_the_reason():
  good, empty, broken = towers(0.0)[0], np.full((R, R, R), -1.0), np.full((R, R, R), np.nan)
  thin = np.full((R, R, R), -1.0)
  thin[8, 8, 0] = 1.0
  table = label.label(np.stack([good, empty, broken, thin]), config(cut=3.0), margins=True)
  assert table['stable_cut'].tolist() == [True, False, False, False]
  assert np.isnan(table['rotation_deg'][1:]).all()
  assert table['parts'].tolist() == [1, 0, 0, 1]
  for reason, words in zip(table['reason'], ('', 'no logit is positive', 'not finite',
                                             'empty above the cut')):
    assert words in reason and bool(words) == bool(reason)
  assert table['margin_deg'][0] > 5 and (table['margin_deg'][1:] == -180).all()


def test_nothing_that_can_be_judged():
  table = label.label(np.full((2, R, R, R), -1.0), config())
  assert not table['stable_cut'].any() and (table['reason'] != '').all()


@pytest.mark.parametrize('engine', ['rest', 'penalty'])
def test_other_engines_agree(engine):
  leans = (0.05, 0.15, 0.5, 0.7)
  table = label.label(towers(*leans), config(engine=engine, seconds=1.0))
  np.testing.assert_array_equal(table['stable_cut'], np.array(leans) < tower_generator.STANDS)


def test_margins_follow_the_lean():
  """About atan((b - a h) / h) for a lean a and the centre of mass at height h over a sole of half
  width b, that of the outermost voxel centres in the tower."""
  leans = np.array([0.0, 0.1, 0.2])
  margins = label.label(towers(*leans), config(cut=0.0), margins=True)['margin_deg']
  expected = np.rad2deg(np.arctan((3 / 32 - leans * 0.42) / 0.42))
  np.testing.assert_allclose(margins, expected, atol=1.0)
  assert (np.diff(margins) < 0).all()


def test_settings_of_the_own_pipeline_of_dso():
  """Legacy inertia and the normalisation of its evaluation, against its steps written out."""
  grid = with_crumb(towers(0.25)[0])
  cfg = config(cut=0.0, smallest=0.0, inertia='mujoco_legacy', normalize='dso', timestep=1e-3)
  table = label.label(grid[None], cfg)
  mesh = voxels.mesh(grid)
  vertices = np.unique(mesh.vertices, axis=0)
  mesh = mesh.replace(vertices=(mesh.vertices - vertices.mean(0)) * 0.5
                      / np.abs(vertices - vertices.mean(0)).max())
  solid = native.with_legacy_inertia(body.from_mesh(mesh), mesh)
  outcome = native.drop(solid, cfg.seconds, 1e-3)
  np.testing.assert_allclose(table['rotation_deg'][0], outcome.rotation_deg, atol=0.05)
  exact = body.from_mesh(mesh)
  assert abs(solid.mass / exact.mass - 1) > 0.01
