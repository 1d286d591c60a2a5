"""The table of measures of consistency: a whole tiny run, agreement by hand."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import consistency as configs
from jax3dgen.core import weights
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import view_corruptions as corruptions
from jax3dgen.formats import features
from jax3dgen.perception import consistency
from jax3dgen.prior import multiview
from jax3dgen.recipes.multiview import consistency_table
from jax3dgen.recipes.nets import consistency_checks as checks
from tests import commands
from tests.fakes import small_views


def metric_folder(folder):
  """Writes a metric with the head `product` as a folder; returns it."""
  encoder, params = features.small(small_views.NET), small_views.parameters()
  model = consistency.make('product', encoder)
  tree = model.init(jax.random.key(0), params)
  tree['head']['weight'] = jnp.linspace(-1, 1, 24)
  weights.save(folder / 'weights.safetensors', tree)
  net = {'head': 'product', 'parts': 0, 'width': 0, 'hidden': 0,
         'encoder': features.describe(encoder)}
  (folder / 'config.json').write_text(json.dumps({'net': net}))
  weights.seal(folder, ('weights.safetensors', 'config.json'))
  return folder


def test_table(tmp_path, monkeypatch):
  monkeypatch.setattr(checks, 'render', small_views.render)
  monkeypatch.setattr(checks, 'generated', small_views.generated)
  monkeypatch.setattr(multiview, 'load', small_views.load)
  names = ('hat', 'second face')  # few operations that have to be compiled
  monkeypatch.setattr(corruptions, 'NAMES', names)
  monkeypatch.setattr(consistency_table, 'CHANGES', names[:1])
  config = configs.get_config('tiny')
  for name in ('features', 'metric'):
    (tmp_path / name).mkdir()
  config.features = str(small_views.features_folder(tmp_path / 'features'))
  config.metrics = (str(metric_folder(tmp_path / 'metric')),)
  rows = consistency_table.run(config, tmp_path, 'command')
  heads = [(row['head'], row['negatives']) for row in rows]
  assert len(dict.fromkeys(heads)) == 4 * 3 + 2 + 1 + 1
  cases = {row['case'] for row in rows if row['head'] == 'trained'}
  assert {*names, 'generated', consistency_table.AGREEMENT} <= cases
  assert [json.loads(line) for line in (tmp_path / 'consistency.jsonl').read_text().splitlines()
          ] == rows
  lines = (tmp_path / 'consistency.md').read_text().splitlines()
  assert lines[0] == '`command`' and len(lines) == 2 + 2 + 16
  config.test.samples = 1
  with pytest.raises(ConfigError, match='must be 2 or more'):
    consistency_table.run(config, tmp_path)


def test_agreement_by_hand():
  psnr = np.array([[20.0, 21.5, 22.0], [30.0, 29.9, 28.0]])
  value = np.array([[1.0, 2.0, 2.0], [1.0, 2.0, 0.0]])  # one tie, one wrong pair
  rows = {row['case']: row for row in consistency_table._agreement(value, psnr)}
  assert rows[consistency_table.AGREEMENT]['auc'] == pytest.approx(4 / 5)
  wide = rows[consistency_table.WIDE]
  assert wide['auc'] == 1 and wide['count'] == 4


def test_the_table_of_the_page_is_that_of_its_rows():
  root = commands.ROOT / 'docs' / 'results'
  rows = [json.loads(line) for line in (root / 'consistency.jsonl').read_text().splitlines()]
  text = (root / 'multiview.md').read_text(encoding='utf-8')
  lines = consistency_table.page(rows).splitlines()
  assert len(lines) == 2 + 16
  for line in lines:
    assert line in text, line
