"""The theory of contrastive guidance: its command with the tiny config, and the committed page."""

import json

import numpy as np
import pytest

from experiments import _command, _config
from experiments import contrastive_guidance as command
from jax3dgen.core import launch
from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes import contrastive_guidance as recipe
from tests import commands

CONFIG = f'{commands.ROOT / "configs" / "contrastive_guidance.py"}'
PAGE = commands.ROOT / 'docs' / 'results' / 'contrastive_guidance.md'


def call(workdir, *args):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(launch, 'reexecute', lambda: None)
    return _command.call(command.run, command.__doc__, config='configs/contrastive_guidance.py',
                         argv=[f'--config={CONFIG}:tiny', f'--workdir={workdir}', *args])


def test_the_command_leaves_a_page_a_picture_and_figures(tmp_path, capsys):
  assert call(tmp_path) == 0
  page = (tmp_path / 'contrastive_guidance.md').read_text()
  assert '## End laws' in page and '](contrastive_guidance.png)' in page and 'nan' not in page
  assert (tmp_path / 'contrastive_guidance.png').read_bytes().startswith(b'\x89PNG')
  figures = json.loads((tmp_path / 'contrastive_guidance.json').read_text())
  config = _config.load(f'{CONFIG}:tiny')[1]
  count = len(config.covariances)
  assert [len(figures[name]) for name in ('directions', 'laws', 'samples')] == [
      4 * count, 5 * count, 5 * count]
  for law, row in zip(figures['laws'], figures['samples']):
    assert law['guidance'] == row['guidance'] and law['covariance'] == row['covariance']
    if row['guidance'] != 'contrastive with residual':  # which amplifies the error of 40 steps
      std = np.sqrt(np.maximum(np.diag(law['law']), 0))
      np.testing.assert_allclose(row['mean'], law['mean'], atol=0.2 * std.max())
      np.testing.assert_allclose(row['std'], std, atol=0.2 * std.max())


def test_the_tables_of_the_page_are_what_the_settings_give():
  page, config = PAGE.read_text(), recipe.default_config()
  for lines in (recipe.direction_table(recipe.directions(config)),
                recipe.law_table(recipe.laws(config))):
    assert '\n'.join(lines) in page
  assert '`python -m experiments.contrastive_guidance --workdir' in page
  assert '](../pictures/contrastive_guidance.png)' in page
  assert (PAGE.parents[1] / 'pictures' / 'contrastive_guidance.png').exists()


def test_directions_are_those_of_example_one():
  """The formula and the text agree but for the third component."""
  rows = {(r['alpha'], r['guidance']): r for r in recipe.directions(recipe.default_config())
          if r['covariance'] == [1.0, 1.0, 0.0]}
  row = rows[0.6, 'contrastive (Theorem 1)']
  np.testing.assert_allclose(row['direction'], [0.64, -0.5366563, 0], atol=1e-7)
  np.testing.assert_allclose(row['text'], [0.64, -0.5366563, -0.48], atol=1e-7)
  np.testing.assert_allclose(rows[0.6, "simple, a'"]['text'], [0.96, 0.5366563, 0.48], atol=1e-7)


@pytest.mark.parametrize('name, value', [
    ('samples', 1), ('steps', 0), ('clean', (0.0, 1.0)), ('alphas', (0.5, 1.0)), ('alphas', ()),
    ('covariances', ((1.0, 1.0, 2.0),)), ('covariances', ())])
def test_invalid_settings_are_refused(name, value):
  config = recipe.default_config()
  config[name] = value
  with pytest.raises(ConfigError, match=f'config.*{name}'):
    recipe.check(config)


def test_an_unknown_variant_is_refused():
  with pytest.raises(ConfigError, match='tiny'):
    _config.load(f'{CONFIG}:huge')
