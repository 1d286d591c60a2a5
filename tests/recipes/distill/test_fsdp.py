"""config.parallel.prior='fsdp': the same run, with a part of the prior on each device."""

import jax
import numpy as np
import pytest

from jax3dgen.core import parallel
from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes.distill import parts as distill_parts
from jax3dgen.recipes.distill import run as distill
from tests.recipes.distill.test_step import difference, small_config


def parts_of(layout, prior, objective):
  config = small_config()
  config.distill.unlock()
  config.distill = {'name': objective}
  config.prior.name, config.parallel.prior = prior, layout
  return distill_parts.build(distill.complete(config))


@pytest.mark.parametrize('prior, objective', [
    ('tests.fakes.random_prior', 'sds'),
    pytest.param('embedded', 'vsd', marks=pytest.mark.slow)])  # a critic reads kernels as well
def test_the_same_numbers_from_parts(monkeypatch, prior, objective):
  monkeypatch.setattr(parallel, 'SMALL', 64)
  ends, arguments = [], []
  for layout in ('replicated', 'fsdp'):
    parts = parts_of(layout, prior, objective)
    axes, fixed = distill_parts.place(parts)
    mapped = parallel.map(distill_parts.field_step(parts, parallel.AXIS), 3, axes)
    state = parallel.replicate(parts.state)
    arguments.append(parallel.cost(mapped, state, *fixed).fixed)
    for _ in range(2):
      state, metrics = mapped(state, *fixed)
    ends.append(parallel.unreplicate((state, metrics)))
  assert difference(*((state.field, state.distill.trainable) for state, _ in ends)) < 1e-6
  for name, value in ends[0][1].items():
    np.testing.assert_allclose(ends[1][1][name], value, rtol=1e-4, atol=1e-6, err_msg=name)
  size = sum(x.nbytes for x in jax.tree.leaves(parts.params))
  assert arguments[0] - arguments[1] > 0.6 * size  # of three quarters, where 4 divides all


def test_another_word_is_refused():
  with pytest.raises(ConfigError, match="config.parallel.prior='zero' .*'replicated', 'fsdp'"):
    parts_of('zero', 'embedded', 'sds')
