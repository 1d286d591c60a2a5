"""What a distillation run is built from: prior, prompt, field, objective, optimisers, state.

Everything is built from the config, and checked, before anything compiles.
"""

from collections.abc import Callable
import contextlib
import inspect
from typing import Any, NamedTuple

import jax
from ml_collections import FrozenConfigDict
import optax

from jax3dgen.core import modules, parallel
from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Prompt
from jax3dgen.data import debias, prompts
from jax3dgen.distill import base
from jax3dgen.metrics import referee
from jax3dgen.perception import templates
from jax3dgen.prior import linear
from jax3dgen.recipes.distill import config as distill_config
from jax3dgen.recipes.distill import sampled_templates, train_state
from jax3dgen.recipes.distill import step as scene_step
from jax3dgen.recipes.distill import views as known_views
from jax3dgen.scene import nerf, texture
from jax3dgen.train import optim
from jax3dgen.train import workdir as workdirs


class Parts(NamedTuple):
  """The records, parameters and initial state of a run, and its frozen config.

  field: what is optimised, a record whose `init` gives its parameters; observe (prior, cfg, count,
  stage) is the `observe` of `scene_step.make_step` for one of `count` devices.
  `provide` is that of `sampled_templates.provider` where the run samples its pose templates, else
  None: until `with_templates` has called it, the classifier in `params` has zeros for templates.
  """
  cfg: FrozenConfigDict
  prior: Any
  params: Any
  prompt: Prompt
  field: Any
  observe: Callable
  distillation: base.Distillation
  tx: optax.GradientTransformation
  fit_tx: optax.GradientTransformation
  state: train_state.TrainState
  provide: Any = None


def embed_prompt(prior, params, tokenize, text, view_prompts, score=None, negative=base.FLAWS):
  """The text's Prompt: one condition row for each use, embedded in one call.

  `score` is that of `data.debias` where prompts are debiased, else None; `negative` are the words
  for flaws of renders.
  """
  texts = prompts.view_prompts(text, score and debias.by_view(text, score))
  if not view_prompts:
    texts = texts | {view: texts['main'] for view in debias.VIEWS}
  texts['negative'] = negative
  flawed = [f'{texts[view]}, {negative}' for view in debias.VIEWS]
  rows = prior.embed(params, tokenize([*texts.values(), *flawed]))
  row = lambda i: jax.tree.map(lambda leaf: leaf[i], rows)
  return Prompt(**{name: row(i) for i, name in enumerate(texts)},
                source=tuple(row(len(texts) + i) for i in range(len(flawed))))


def open_prior(section):
  """(prior, params, tokenize) by the load() of the module that config.prior names.

  The section's further fields are its arguments where they are not None. ConfigError for a field
  that load() does not take.
  """
  load = modules.find('jax3dgen.prior', section.name, 'config.prior.name').load
  options = {name: value for name, value in section.items()
             if name not in ('name', 'weights') and value is not None}
  for name in options.keys() - inspect.signature(load).parameters.keys():
    raise ConfigError(f'config.prior.{name}: the prior {section.name!r} has no such setting.')
  return load(section.weights or None, **options)


def load_prior(cfg):
  """(prior, params, Prompt, provide) of a run; `provide` as in Parts.

  The parameters are those that its steps need: the prior's without text encoders, and, where the
  run uses them, params['classifier'] of the pose classifier, params['linear'] of `prior.linear` and
  params['views'] of `views.read`.
  """
  text = f'{cfg.prompt}, {cfg.auxiliary}' if cfg.auxiliary else cfg.prompt
  place = parallel.on_host if cfg.parallel.prior == 'fsdp' else contextlib.nullcontext
  with place():
    prior, params, tokenize = open_prior(cfg.prior)
    prompt = embed_prompt(prior, params, tokenize, text, cfg.view_prompts,
                          debias.scorer(cfg.debias.prompt),
                          cfg.distill.get('negative_prompt', base.FLAWS))
    quick = 'render' in cfg and cfg.render.latent_steps > 0
    extra = {'linear': linear.fit(prior, params)} if quick else {}

  def attention(images):
    with place():
      ids = tokenize([cfg.prompt] * len(images))
      return jax.jit(prior.attention)(params, jax.random.key(0), images, ids)
  if 'classifier' in cfg.distill:
    classifier = modules.find('jax3dgen.perception', cfg.distill.classifier,
                              'config.distill.classifier')
    extra['classifier'] = classifier.load(cfg.prompt, cfg.distill,
                                          prior.attention and attention)
  if 'views' in cfg and cfg.views.folder:
    extra['views'] = known_views.read(cfg.views.folder)
  provide = None
  if sampled_templates.wanted(cfg.distill):
    provide = sampled_templates.provider(cfg, prior, params, tokenize, extra['classifier'],
                                         prior.attention and attention)
  of_steps = {name: part for name, part in params.items() if name != 'text'}
  return prior, extra | of_steps, prompt, provide


def build_field(cfg):
  """The hash-grid field that config.field describes."""
  f = cfg.field
  return nerf.field(levels=f.levels, features=f.features, table_log2=f.table_log2, base=f.base,
                    finest=f.finest, hidden=f.hidden, interpolation=f.interpolation,
                    activation=f.activation, blob=f.blob, density_noise=f.density_noise,
                    background=f.background)


def field_scene(cfg):
  """(field, observe) of `Parts` for the views of a hash-grid field."""
  field = build_field(cfg)
  return field, lambda prior, cfg, count, stage: scene_step.field_views(field, prior, cfg, count,
                                                                        stage)


def build(config, scene=field_scene):
  """Parts of a run of a complete config; a Jax3dgenError for whatever the config gets wrong.

  scene(cfg) -> (field, observe), what is optimised and how it is seen.
  """
  distillation, _ = base.load(config.distill.name)
  if not config.prompt.strip():
    raise ConfigError('config.prompt is empty: say what to make, for example \'a red bear\'.')
  distill_config.check(config)
  cfg = FrozenConfigDict(config)
  prior, params, prompt, provide = load_prior(cfg)
  parallel.share_batch(cfg.train.batch)
  distill_config.check_levels(cfg, prior.schedule.safe_range)
  referee.labels(), referee.load()  # a damaged referee stops the run here, not at its end
  if cfg.result.texture or cfg.result.faces:
    texture.packages()
  field, observe = scene(cfg)
  key, field_key = keys(cfg)
  shapes = jax.eval_shape(field.init, key)
  tx = optim.adam(cfg.optim.rates, shapes, eps=cfg.optim.eps, clip=cfg.optim.clip,
                  accumulate=cfg.train.accumulate, decay=cfg.optim.decay)
  fit_tx = optim.fit_adam(cfg.optim)
  parts = Parts(cfg, prior, params, prompt, field, observe, distillation, tx, fit_tx, None, provide)
  return parts._replace(state=start(parts, key, field_key))


def keys(cfg):
  """(the run's key, the key of its initial field)."""
  key = jax.random.key(cfg.seed)
  return key, key if cfg.init_seed is None else jax.random.key(cfg.init_seed)


def start(parts, key, field_key):
  """The TrainState of `parts` before its first step."""
  cfg = parts.cfg
  return train_state.init(key, field_key, parts.field, parts.params, parts.distillation, parts.tx,
                          parts.fit_tx, cfg.distill, cfg.train.particles)


def field_step(parts, axis_name, stage=None, count=None):
  """The training step of `Parts` (see `scene_step.make_step`) for one of `count` devices (None: all
  devices of the run)."""
  count = count or parallel.device_count()
  observe = parts.observe(parts.prior, parts.cfg, count, stage)
  return scene_step.make_step(observe, parts.prior, parts.distillation, parts.tx, parts.fit_tx,
                              parts.cfg, count, axis_name)


def place(parts):
  """(axes for `parallel.map`, the step's fixed arguments on the devices): the prior's parameters as
  config.parallel.prior says, the prompt, the root key."""
  cfg = parts.cfg
  axes = parallel.split_axes(parts.params) if cfg.parallel.prior == 'fsdp' else None
  return axes, (parallel.scatter(parts.params, axes),
                *parallel.broadcast((parts.prompt, jax.random.key(cfg.seed))))


def write_templates(config, workdir):
  """Writes the pose templates of a run of a complete config into `workdir`, sampled from its prior,
  where that has none."""
  cfg = config.copy_and_resolve_references()
  if 'templates' not in cfg.distill:
    raise ConfigError(f'The objective {cfg.distill.name!r} has no rectifier that classifies poses.')
  cfg.distill.templates = templates.SAMPLED
  distill_config.check(cfg)
  provide = load_prior(FrozenConfigDict(cfg))[3]
  if provide is None:
    raise ConfigError(f'config.distill.classifier={cfg.distill.classifier!r} has no templates.')
  with workdirs.lock(workdir):
    provide(workdir)


def with_templates(parts, axes, fixed, workdir, starts):
  """(Parts, fixed arguments of `place`) with the pose templates of the workdir, sampled where it
  has none, for a run that `starts` or is resumed; as they are where a run samples none."""
  if parts.provide is None:
    return parts, fixed
  changed = {'classifier': parts.provide(workdir)}
  size = changed['classifier'].extract.size
  parallel.from_main(sampled_templates.note_change, workdir, size, starts)
  placed = parallel.scatter(changed, axes and {'classifier': axes['classifier']})
  return (parts._replace(params=parts.params | changed, provide=None),
          (fixed[0] | placed, *fixed[1:]))
