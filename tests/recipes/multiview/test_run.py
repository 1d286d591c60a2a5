"""The loop on a small prior: its results, resuming, what a tuning learns, errors, the command."""

import json

import pytest

from configs import multiview_d3po
from jax3dgen.recipes.multiview import run
from tests.fakes import small_views


def config(**changes):
  """The tiny config without training of base and metric, with changes {'section__field': value}."""
  c = multiview_d3po.get_config('tiny')
  c.base.train.steps = c.metric.train.steps = 0
  c.score.by = 'psnr'
  c.lora.pattern = 'self/'
  for name, value in changes.items():
    c.update_from_flattened_dict({name.replace('__', '.'): value})
  return c


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
  """The workdir of a run that nothing stops."""
  workdir = tmp_path_factory.mktemp('unbroken')
  run.run(config(), workdir, small_views.make(config()))
  return workdir


def results(workdir):
  return json.loads((workdir / 'result.json').read_text())


def test_a_run_leaves_its_phases_and_a_table(unbroken):
  page, figures = (unbroken / 'multiview.md').read_text(), results(unbroken)
  assert '| base |' in page and '| tuned |' in page and '| change |' in page
  assert figures['tuning']['pairs'] == 4 and figures['tuning']['agreement'] == 1.0
  assert figures['rows']['base']['samples'] == 4
  assert figures['rows']['base']['psnr'] != figures['rows']['tuned']['psnr']
  assert (unbroken / 'samples.png').is_file()
