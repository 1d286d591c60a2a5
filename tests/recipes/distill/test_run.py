import json
from types import SimpleNamespace

import jax
from ml_collections import FrozenConfigDict
import numpy as np
import optax
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.distill import base
from jax3dgen.prior import embedded
from jax3dgen.recipes.distill import outputs, train_state
from jax3dgen.recipes.distill import parts as distill_parts
from jax3dgen.recipes.distill import run as distill
from tests import nets


def test_embed_prompt_gives_each_view_its_words():
  prior = embedded.make({'size': 16, 'text': {'words': 9, 'length': 4, 'width': 8, 'depth': 1,
                                              'heads': 2},
                         'denoiser': {'channels': (8, 16), 'embedding': 16, 'head_width': 8}})

  params = nets.random_parameters(prior.init, jax.random.key(0))
  prompts = []

  def tokenize(texts):
    prompts.extend(texts)
    return np.array([[1 + i % 8, 0, 0, 0] if t else [0] * 4 for i, t in enumerate(texts)], np.int32)
  prompt = distill_parts.embed_prompt(prior, params, tokenize, 'a red bear', True)
  assert prompts == ['a red bear', 'a red bear, front view', 'a red bear, side view',
                     'a red bear, back view', 'a red bear, from above', '', prompts[6],
                     *(f'{view}, {prompts[6]}' for view in prompts[1:5])]
  assert not np.any(prompt.null.tokens) and np.any(prompt.back.tokens != prompt.front.tokens)
  prompts.clear()
  plain = distill_parts.embed_prompt(prior, params, tokenize, 'a red bear', False)
  assert prompts[:5] == ['a red bear'] * 5
  assert jax.tree.leaves(plain.main)[0].shape == (4, 8)


def test_complete_adds_what_the_objective_declares(tmp_path, monkeypatch):
  (tmp_path / 'loss_with_defaults.py').write_text(
      'from jax3dgen.distill import base\n'
      'DEFAULTS = {"guidance": 9.0, "sharpness": 2}\n'
      'DISTILLATION = base.stateless(lambda *args: None)\n')
  monkeypatch.chdir(tmp_path)
  config = distill.default_config()
  config.distill.name = 'loss_with_defaults'
  whole = distill.complete(config)
  assert whole.distill.sharpness == 2 and whole.distill.guidance == 9.0
  assert 'sharpness' not in config.distill
  config.distill.guidance = 2.0
  assert distill.complete(config).distill.guidance == 2.0
  config.distill.sharpnes = 3
  with pytest.raises(ConfigError, match='sharpnes.*reads guidance, sharpness'):
    distill.complete(config)
  with pytest.raises((AttributeError, KeyError)):
    whole.distill.unknown = 1


def test_init_seed_seeds_the_initial_field_alone():
  field = SimpleNamespace(init=lambda key: {'table': jax.random.normal(key, (3,))})
  noisy = base.Distillation(lambda key, params, cfg: base.DistillState(
      {}, jax.random.normal(key, (3,))), None, None)
  tx = optax.identity()

  def start(**seeds):
    cfg = FrozenConfigDict({'seed': 0, 'init_seed': None} | seeds)
    key, field_key = distill_parts.keys(cfg)
    state = train_state.init(key, field_key, field, {}, noisy, tx, tx, None)
    return (state.field['table'].tolist(), state.distill.trainable.tolist(),
            jax.random.key_data(key).tolist())
  table, critic, key = start(seed=1)
  assert start(seed=1, init_seed=1) == (table, critic, key)
  assert start(seed=2, init_seed=1)[0] == table != start(seed=2)[0]
  assert start(seed=1, init_seed=2)[1:] == (critic, key) != start(seed=2)[1:]


@pytest.mark.parametrize('step, opacity, word', [
    (99, 0.0, None), (100, 0.001, 'empty'), (100, 0.99, 'fog'), (500, 0.3, None)])
def test_watchdog_names_empty_and_fog(step, opacity, word):
  reason = distill.watchdog(distill.default_config())(step, {'opacity': opacity})
  assert reason is None if word is None else word in reason


def test_a_pose_that_vanishes_is_reported_once(capsys):
  config = distill.default_config()
  config.distill.update({'name': 'usd', 'floor': 0.01})
  watch = distill.watchdog(config)
  for step, rarest in ((1, 0.02), (2, 0.005), (3, 0.004)):
    assert watch(step, {'opacity': 0.3, 'rarest_pose': rarest}) is None
  assert capsys.readouterr().err.startswith('Step 2: ')
  assert capsys.readouterr().err == ''


def test_a_run_is_finished_when_its_result_counts_all_steps(tmp_path):
  config = distill.default_config()
  assert distill.complete_figures(tmp_path, config) is None
  figures = {'config_digest': outputs.config_digest(config)}
  (tmp_path / 'result.json').write_text(json.dumps(figures))
  config.log.every += 1
  assert distill.complete_figures(tmp_path, config) == figures
  config.result.flat_cut = 0.5
  assert distill.complete_figures(tmp_path, config) is None
