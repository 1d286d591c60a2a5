"""Settings that depend on the objective, the prior and the length of a run; the papers' tables."""

import ast
import pathlib

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np
import pytest

from configs import _papers
from experiments import _command, _config
from experiments import distill as command
from jax3dgen.core import launch
from jax3dgen.core.errors import ConfigError
from jax3dgen.distill import base, hifa, sdi, sds
from jax3dgen.recipes.distill import config as distill_config
from jax3dgen.recipes.distill import parts as distill_parts
from jax3dgen.recipes.distill import run as distill
from jax3dgen.recipes.distill import step as scene_step
from jax3dgen.scene import regularizers
from tests.fakes import gaussian
from tests.recipes.distill.test_step import small_config

ROOT = pathlib.Path(__file__).resolve().parents[3]
NAMES = [name for name in base.objectives() if (ROOT / 'configs' / f'{name}.py').exists()]
BASES = ('sd15', 'sd21', 'sdxl')


def load(name):
  """The complete config of configs/NAME.py[:VARIANT]."""
  stem, _, variant = name.partition(':')
  return distill.complete(_config.load(f'{ROOT}/configs/{stem}.py{variant and ":"}{variant}')[1])


def call(capsys, *args):
  """(exit status, what it says) of experiments.distill."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(launch, 'reexecute', lambda: None)
    status = _command.call(command.run, command.__doc__, config='configs/embedded.py',
                           flags=command.flags, complete=command.complete, argv=args)
  return status, capsys.readouterr().err


@pytest.mark.parametrize('model', BASES)
def test_base_configs_suit_every_objective(model, capsys, tmp_path):
  for name in base.objectives():
    status, said = call(capsys, f'--config={ROOT}/configs/{model}.py', f'--workdir={tmp_path}/run',
                        f'--config.prior.weights={tmp_path}/none', f'--config.distill.name={name}')
    assert status == 2 and f'There is no folder {tmp_path}/none' in said, (name, said)


@pytest.mark.parametrize('name', NAMES)
def test_base_configs_take_the_settings_of_the_objective_unless_they_are_set(name):
  config = _config.load(f'{ROOT}/configs/sd21.py')[1]
  config.distill.name = name
  assert distill.complete(config).distill.to_dict() == load(name).distill.to_dict() | (
      {'switch': 8000} if name == 'sds_bridge' else {})  # of 10,000 steps, not of 25,000
  config.distill.guidance = 3.0
  assert distill.complete(config).distill.guidance == 3.0
  config = distill.default_config()  # on the embedded prior they are DEFAULTS
  config.distill.name = name
  settings = distill.complete(config).distill.to_dict()
  assert settings == {'name': name, 'guidance': 4.0} | base.load(name)[1] | (
      {'switch': 960} if name == 'sds_bridge' else {})  # .8 of 1,200 steps


def test_an_objective_without_settings_has_the_guidance_of_its_prior(tmp_path, monkeypatch):
  (tmp_path / 'bare_objective_for_test.py').write_text(
      'from jax3dgen.distill import sds\nDISTILLATION = sds.DISTILLATION\n')
  monkeypatch.syspath_prepend(tmp_path)
  for path, guidance in (('sd15', 7.5), ('embedded', 4.0)):
    config = _config.load(f'{ROOT}/configs/{path}.py')[1]
    config.distill.name = 'bare_objective_for_test'
    assert distill.complete(config).distill.guidance == guidance


def rows(path):
  """[(field, source, here, why not)] of the table in a config's docstring."""
  text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))
  lines = text[text.index('field |'):].replace('\n  ', ' ').splitlines()[1:]
  return [[cell.strip() for cell in line.split(' |')] for line in lines]


@pytest.mark.parametrize('name', NAMES)
def test_tables_of_the_configs_say_what_the_configs_have(name):
  config = dict(_config.leaves(load(name)))
  tables = [rows(ROOT / 'configs' / f'{name}.py')]
  tables += [rows(ROOT / 'configs' / '_papers.py')] if name == 'sds' else []
  page = (ROOT / 'docs' / 'fidelity.md').read_text(encoding='utf-8')
  check_tables(sum(tables, []), config, page)


def check_tables(rows, config, page):
  """Rows of a config's docstring have the values of its fields, and stand on the page."""
  for cells in rows:
    assert len(cells) == 4, cells
    field, source, here, _ = cells
    if field in config:
      assert ast.literal_eval(source if here == '=' else here) == config[field], cells
    assert f'| {" | ".join(cells).strip()} |'.replace(' |  |', ' | |') in page, cells


@pytest.mark.parametrize('name', ['dso:trellis', 'prolificdreamer', 'recdreamer'])
def test_tables_of_further_configs_say_what_they_have(name):
  stem, _, variant = name.partition(':')
  config = dict(_config.leaves(_config.load(
      f'{ROOT}/configs/{stem}.py{variant and ":"}{variant}')[1]))
  check_tables(rows(ROOT / 'configs' / f'{stem}.py'), config,
               (ROOT / 'docs' / 'fidelity.md').read_text(encoding='utf-8'))


def test_shares_of_the_run_become_steps():
  config = _config.load(f'{ROOT}/configs/jsd.py')[1]
  config.train.steps = 100
  c = distill.complete(config)
  assert c.timestep.min == c.timestep.max == (0, 0.98, 0.25, 100)
  assert c.render.size == ((0, 256), (20, 512)) and c.shading.albedo_steps == 10
  assert c.regularizers.convexity == (0, 16384.0, 1638.4, 40)
  assert distill.complete(c).to_dict() == c.to_dict()
  # Those of the embedded prior had these steps before they were shares.
  c = load('embedded')
  assert c.timestep.min == (100, 0.6, 0.06, 900) and c.timestep.max == (0, 0.96, 0.6, 1200)
  assert c.regularizers.opaque == (600, 0.0, 60.0, 1000)
  for name, value in (('timestep.max', (0, 0.9, 0.5, 1.5)), ('field.bands', (-0.1, 0.5, 1.0, 10)),
                      ('render.size', ((0, 64), (1.5, 512)))):
    config = distill.default_config()
    section, field = name.split('.')
    config[section][field] = value
    with pytest.raises(ConfigError, match=f'config.{name}.*neither a whole number of steps nor'):
      distill.complete(config)


@pytest.mark.parametrize('low, high, words', [
    (-0.1, 0.5, 'timestep.min=-0.1 is not between 0 and 1'),
    (0.1, 1.2, 'timestep.max=1.2 is not between 0 and 1'),
    (0.7, 0.5, 'at step 0: 0.7 and 0.5'),
    ((0, 0.1, 0.8, 1.0), (0, 0.9, 0.3, 1.0), 'at step 1199: 0.799.* and 0.300'),
    (0.55, (300, 0.9, 0.5, 301), 'at step 301: 0.55 and 0.5'),
    ((0, 0.2, 1.5, 1.0), 0.9, 'timestep.min')])
def test_noise_levels_that_cannot_be_are_refused(low, high, words):
  config = distill.default_config()
  config.timestep.min, config.timestep.max = low, high
  with pytest.raises(ConfigError, match=words):
    distill_config.check(distill.complete(config))


def test_noise_levels_beyond_the_prior_are_refused_before_anything_compiles(capsys, tmp_path):
  status, said = call(capsys, f'--config={ROOT}/configs/embedded.py:tiny',
                      f'--workdir={tmp_path}/run', '--config.timestep.max=(0, 1.0, 0.6, 10)')
  assert status == 2 and 'config.timestep.max' in said and 'from 0.005 to 0.995' in said
  assert not (tmp_path / 'run').exists()
  config = load('sd21')  # zero terminal signal-to-noise ratio
  with pytest.raises(ConfigError, match='noise level 0.98, .* from 0 to 0.977 only'):
    distill_config.check_levels(config, (0.0, 0.977))
  distill_config.check_levels(config, (0.0, 0.999))


def latent_prior():
  """A prior whose x_0 [B, 64, 64, 4] is linear in the image, as a latent's size."""
  prior, params = gaussian.prior(0.3, 0.5)
  mix = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32))

  def encode(params, image):
    return jax.image.resize(image, (len(image), 64, 64, 3), 'linear') @ mix
  return prior._replace(encode=encode), params


def gradient_of_step(config, objective):
  """(gradient, show, field parameters) of the first step of a config.

  gradient(direction) is that of the step's loss whose g is direction(view, prior, params), with
  respect to the parameters; show(parameters) is what `scene_step.field_views` renders.
  """
  cfg = FrozenConfigDict(config)
  prior, params = latent_prior()
  field = distill_parts.build_field(cfg)
  observe = scene_step.field_views(field, prior, cfg, 1)
  state = field.init(jax.random.key(3))
  prompt = gaussian.view(jnp.zeros((1, 1, 1, 1)), 0.5, base.classifier_free).prompt
  keys = jax.random.key(1), jax.random.key(2)
  t, step = jnp.full(cfg.train.batch, 0.5), jnp.int32(0)

  def gradient(direction):
    view, pull, _ = scene_step.render_view(
        observe, state, params, prompt, base.classifier_free, scene_step.view_limits(cfg),
        objective.pixels, keys, 0, t, step)
    g = direction(view, prior, params)
    return pull(jax.tree.map(lambda x: x / len(x), g))
  show = lambda p: observe(params, *keys, 0, step)[1](p)
  return gradient, show, state


def test_regularisers_of_sdi_weigh_as_in_a_mean_loss():
  # The authors' loss is half the mean square of x_0 - target, and their weight of `opaque` is .1.
  paper = load('sdi').regularizers
  assert paper.opaque == pytest.approx(0.1 * _papers.LATENT_SIZE)
  config = small_config()
  config.train.batch = 2
  with config.ignore_type():  # a schedule may become a number
    config.regularizers.update(dict.fromkeys(config.regularizers, 0.0) | {'opaque': paper.opaque})
  gradient, show, state = gradient_of_step(config, sdi.DISTILLATION)
  target = jnp.asarray(np.random.default_rng(1).normal(size=(2, 64, 64, 4)).astype(np.float32))
  ours = jax.jit(lambda: gradient(lambda view, *_: view.x0 - target))()

  def mean_loss(p):
    (x0, penalty), _ = show(p)
    return 0.5 * jnp.mean((x0 - target)**2) + 0.1 * penalty / paper.opaque
  expected = jax.jit(jax.grad(mean_loss))(state)
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, _papers.LATENT_SIZE * b, rtol=1e-3, atol=1e-3 * np.abs(a).max())


def test_the_image_term_of_hifa_acts_on_the_pixels():
  config = small_config()
  config.train.batch = 1
  gradient, show, state = gradient_of_step(config, hifa.DISTILLATION)
  weights = jnp.asarray(np.random.default_rng(2).normal(size=(1, 8, 8, 3)).astype(np.float32))

  def direction(view, *_):
    return base.Gradients(jnp.ones_like(view.x0), weights)
  ours = jax.jit(lambda: gradient(direction))()

  def loss(p):
    (x0, penalty), (picture, _, _) = show(p)
    return x0.sum() + jnp.vdot(picture, weights) + penalty
  expected = jax.jit(jax.grad(loss))(state)
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


@pytest.mark.parametrize('kind', ['harmonics', 'frequency'])
def test_a_learned_background_is_behind_training_views_and_learns(kind):
  config = small_config()
  config.field.background, config.field.blob = kind, 'none'
  config.train.batch = 1
  gradient, show, state = gradient_of_step(config, sds.DISTILLATION)
  grads = jax.jit(lambda: gradient(lambda view, *_: view.x0))()
  assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads['background']))
  if kind == 'frequency':
    return
  other = state | {'background': jax.tree.map(lambda w: w + 0.5, state['background'])}
  picture = jax.jit(lambda p: show(p)[1][0])
  assert np.abs(picture(state) - picture(other)).max() > 1e-3
  config.render.random_background = 1.0  # then nothing of it is left
  _, covered, _ = gradient_of_step(config, sds.DISTILLATION)
  picture = jax.jit(lambda p: covered(p)[1][0])
  np.testing.assert_array_equal(picture(state), picture(other))


def test_every_regulariser_has_a_weight():
  assert regularizers.TERMS.keys() == set(distill.default_config().regularizers)
