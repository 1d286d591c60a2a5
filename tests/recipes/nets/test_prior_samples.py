"""The shipped prior draws what its caption says, as its card says."""

import json
import re

from ml_collections import ConfigDict
import pytest

from jax3dgen.export import curves
from jax3dgen.prior import embedded
from jax3dgen.recipes.nets import prior, prior_samples, ship

FOLDER = embedded.shipped()


def figures(repeats):
  """`prior_samples.quality` at the settings of the card."""
  net = json.loads((FOLDER / 'config.json').read_text())
  config = json.loads((FOLDER / 'training.json').read_text())
  return prior_samples.quality(embedded.load()[1], net, config['sample']['guidance'],
                               config['sample']['steps'], repeats)


@pytest.mark.slow
def test_samples_of_one_noise_agree_with_the_card():
  """The samples of key 0 are a quarter of those of the card: no more of them may be wrong."""
  [(count, guidance, steps, percent)] = re.findall(
      r'of (\d+) plain captions .*?guidance ([\d.]+), (\d+)\s+DDIM steps, ([\d.]+)% show',
      (FOLDER / 'card.md').read_text(), re.DOTALL)
  result = figures(1)
  assert result['samples'] * prior.REPEATS == int(count)
  assert (result['guidance'], result['ddim']) == (float(guidance), int(steps))
  wrong = round(int(count) * (1 - float(percent) / 100))
  assert round(result['samples'] * (1 - result['right'])) <= wrong <= 0.05 * int(count)


@pytest.mark.slow
def test_the_card_is_that_of_its_samples_curve_and_runs(monkeypatch):
  config = json.loads((FOLDER / 'training.json').read_text())
  earlier = config.pop('earlier')
  monkeypatch.setattr(prior, 'history', lambda config: earlier)
  card = prior.card(ship.Result(ConfigDict(config), embedded.load()[1], figures(prior.REPEATS),
                                curves.read(FOLDER / 'curve.csv')))
  assert card.split() == (FOLDER / 'card.md').read_text().split()
