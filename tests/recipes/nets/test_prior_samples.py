"""The shipped prior draws what it is told, in the eyes of the shipped referee."""

import json

from jax3dgen.prior import embedded
from jax3dgen.recipes.nets import prior


def test_samples_at_guidance_4_show_the_kind_and_the_colour():
  net = json.loads((embedded.shipped() / 'config.json').read_text())
  found = prior.quality(embedded.load()[1], net, 4.0, 24, 1)
  assert found['samples'] == 36 and found['right'] >= 0.95
  card = (embedded.shipped() / 'card.md').read_text()
  assert 'show the right kind in the right colour' in card
