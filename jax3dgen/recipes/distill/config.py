"""The configuration of a distillation run: every field, its default and what it means.

The comment behind a field is its help text. The defaults are those of the embedded prior. A field
that takes a schedule takes a number, or (start, from, to, end): linear between two steps, of which
a whole number is a step and a float a share of train.steps, so that shorter runs anneal faster.
"""

import re

from ml_collections import ConfigDict, FieldReference
from ml_collections.config_dict import placeholder

from jax3dgen.core import types
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import prompts
from jax3dgen.distill import base, guidance
from jax3dgen.scene import background as backgrounds
from jax3dgen.scene import shading
from jax3dgen.train import optim


def schedule(value):
  """A field that takes a number or a schedule (see `optim.scalar`)."""
  return FieldReference(value, field_type=object)


class _Dtype(FieldReference):

  def set(self, value, type_safe=True):
    super().set(None if value is None else types.float_dtype(value).name, type_safe)


def dtype_field():
  """A field that takes a dtype in any notation of `types.float_dtype`; its value is the name."""
  return _Dtype(None, field_type=str)


def default_config():
  """A locked ConfigDict; an unknown field raises."""
  c = ConfigDict()
  c.prompt = 'a red bear'  # what to make, in the words that the prior knows
  c.auxiliary = ''  # words for the prior after the prompt's, as RecDreamer's of views; '': none
  c.seed = 0  # seeds the initial field and the noise of every step
  c.init_seed = placeholder(int)  # seeds the initial field alone; None: as seed does
  c.view_prompts = True  # give each view the prompt with its view phrase; False: the plain prompt

  c.prior = ConfigDict()
  c.prior.name = 'embedded'  # module of jax3dgen/prior, or a module on the path, that has load()
  c.prior.weights = ''  # folder of its weights, or a hub id; empty: those shipped with the package
  c.prior.dtype = dtype_field()  # float32 or bfloat16, where the prior asks; None: its default
  c.prior.size = placeholder(int)  # pixels per side that images are encoded at, likewise
  c.prior.remat = placeholder(bool)  # recompute blocks in the backward pass, likewise

  c.distill = ConfigDict()
  c.distill.name = 'sds'  # file of jax3dgen/distill, or a module on the path
  c.distill.guidance = placeholder(float)  # guidance scale; None: the objective's own

  c.guide = ConfigDict()
  c.guide.name = 'classifier_free'  # how prompts are combined: classifier_free or perp_neg
  c.guide.rescale = 0.0  # share in which guidance gets back the spread of the plain prediction
  c.guide.front_deg = 45.0  # views this close to azimuth 0 are front views, to 180 back views
  c.guide.overhead_deg = 60.0  # views above this elevation are overhead views

  c.debias = ConfigDict()
  c.debias.prompt = ''  # what finds words that contradict a view: words, a model's folder or ''
  c.debias.clamp = schedule(0.0)  # bound of each entry of the direction (Debiased-SDS); 0: none

  c.field = ConfigDict()
  c.field.levels = 8  # levels of the hash grid
  c.field.features = 2  # features per level
  c.field.table_log2 = 14  # log2 of the rows of a hashed level
  c.field.base = 8  # cells per side of the coarsest level
  c.field.finest = 64  # cells per side of the finest level
  c.field.hidden = 32  # width of the small network behind the grid
  c.field.interpolation = 'linear'  # linear or smoothstep
  c.field.activation = 'softplus'  # of the density: softplus or exp
  c.field.blob = 'none'  # density bias that starts the object: magic3d, dreamfusion or none
  c.field.bands = schedule(1.0)  # share of the levels that are on, or a schedule
  c.field.density_noise = 0.0  # spread of noise on the density before its activation, in training
  c.field.background = ''  # learned from the ray's direction: harmonics or frequency; '': none

  c.camera = ConfigDict()
  c.camera.elevation_deg = (-5.0, 35.0)  # range of elevations above the horizon
  c.camera.by_area = 0.0  # share of the views whose elevation is even over the sphere, not in angle
  c.camera.by_area_deg = ()  # their range of elevations; (): elevation_deg
  c.camera.distance = (2.9, 2.9)  # range of distances; the object fits the unit ball
  c.camera.fovy_deg = (40.0, 40.0)  # range of vertical fields of view
  c.camera.sectors = ()  # shares of views from front, left, back, right; (): even

  c.timestep = ConfigDict()
  c.timestep.min = schedule((1 / 12, 0.6, 0.06, 0.75))  # smallest noise level, or a schedule
  c.timestep.max = schedule((0, 0.96, 0.6, 1.0))  # largest noise level, or a schedule
  c.timestep.rule = 'uniform'  # between them: uniform, sqrt (HiFA) or back_and_forth (RecDreamer)
  c.timestep.phases = 2  # of back_and_forth, each way

  c.render = ConfigDict()
  c.render.size = schedule(32)  # pixels per side of views, or ((first step or share, pixels), ...)
  c.render.latent_steps = 0  # first steps whose views are encoded by a linear map of their colours
  c.render.n_samples = 32  # stratified samples along a ray
  c.render.n_importance = 0  # further samples where the first ones found density
  c.render.normals = ''  # analytic or finite, where a regulariser or shading needs them
  c.render.background = (1.0, 1.0, 1.0)  # sRGB colour behind the object, if none is learned
  c.render.random_background = schedule(0.0)  # probability of a random colour behind a view

  c.shading = ConfigDict()
  c.shading.probability = 0.0  # of a view to be lit by a point light; needs render.normals
  c.shading.textureless = 0.5  # of a lit view to be drawn without its colours
  c.shading.albedo_steps = schedule(1000)  # steps before the first lit view, or their share
  c.shading.light = 'dreamfusion'  # where the light is: dreamfusion or magic3d

  c.regularizers = ConfigDict()  # weights: numbers or schedules
  c.regularizers.opaque = schedule((0.5, 0.0, 60.0, 5 / 6))  # binary entropy of the opacity of rays
  c.regularizers.sparsity = schedule(60.0)  # little opacity
  c.regularizers.orientation = schedule(0.0)  # normals that face the camera; needs render.normals
  c.regularizers.z_variance = schedule(0.0)  # thin density along rays
  c.regularizers.opacity = schedule(0.0)  # squared opacity of rays
  c.regularizers.entropy = schedule(0.0)  # binary entropy of the weights of samples
  c.regularizers.convexity = schedule(0.0)  # normals of a convex surface; needs render.normals

  c.views = ConfigDict()  # pictures that the object should look like (`recipes/distill/views`)
  c.views.folder = ''  # of the pictures and their cameras; '': none
  c.views.color = schedule(0.0)  # weight of the mean square error of their colours
  c.views.opacity = schedule(0.0)  # weight of that of their opacity

  c.optim = ConfigDict()
  c.optim.rates = (('', 1e-2),)  # (regular expression of the parameter path, Adam learning rate)
  c.optim.eps = 1e-8  # added to Adam's root mean square of gradients
  c.optim.decay = 0.0  # weight decay of AdamW; 0: Adam
  c.optim.fit_rate = 1e-4  # learning rate of an objective's own network
  c.optim.fit_decay = 0.0  # weight decay of its AdamW; 0: Adam
  c.optim.fit_warmup = 0  # steps in which its learning rate grows from 0
  c.optim.clip = 0.0  # bound of the global gradient norm; 0: none

  c.train = ConfigDict()
  c.train.steps = 1200  # optimisation steps
  c.train.batch = 4  # views per step, over all devices together
  c.train.particles = 1  # fields that share an objective's state; a step moves one of them
  c.train.accumulate = 1  # steps whose mean gradient makes one update
  c.train.max_skipped = 20  # stop after this many non-finite gradients in a row

  c.parallel = ConfigDict()
  c.parallel.prior = 'replicated'  # prior's parameters on devices: replicated, or fsdp (in parts)

  c.watch = ConfigDict()
  c.watch.after = 100  # first step at which an empty or foggy field stops the run
  c.watch.empty = 0.005  # mean opacity (of rays through the scene) of an empty field
  c.watch.fog = 0.95  # mean opacity of one that is all fog

  c.log = ConfigDict()
  c.log.every = 20  # steps between rows of metrics.csv
  c.log.preview_every = 250  # steps between preview strips
  c.log.preview_size = 64  # pixels per side of a preview

  c.checkpoint = ConfigDict()
  c.checkpoint.every = 250  # steps between checkpoints
  c.checkpoint.keep = 2  # checkpoints kept

  c.result = ConfigDict()
  c.result.mesh_resolution = 96  # cells per side of the grid whose surface becomes the mesh
  c.result.faces = 0  # of the mesh, by the extra `texture`; 0: as many as the grid makes
  c.result.texture = 0  # texels per side of the mesh's texture, likewise; 0: vertex colours
  c.result.flat_cut = 0.1  # largest share of the height cut off below to make it stand; 0: none
  c.result.elevation_deg = 15.0  # elevation of turntable and previews
  c.result.turntable_size = 256  # pixels per side of the turntable
  c.result.turntable_frames = 72  # frames of one turn
  c.result.drop_seconds = 10.0  # simulated seconds of the drop
  c.result.stable_deg = 20.0  # an asset that turns less than this stands
  c.lock()
  c.distill.unlock()  # the objective brings its own fields; `complete` looks at their names
  return c


AT_LEAST = {
    'timestep.phases': 1, 'train.steps': 1, 'train.batch': 1, 'train.particles': 1,
    'train.accumulate': 1, 'train.max_skipped': 1, 'render.latent_steps': 0,
    'render.n_samples': 1, 'render.n_importance': 0, 'log.preview_size': 1, 'log.every': 0,
    'log.preview_every': 0, 'checkpoint.every': 0, 'checkpoint.keep': 1,
    'result.mesh_resolution': 8, 'result.turntable_size': 2, 'result.turntable_frames': 1,
    'result.faces': 0, 'result.texture': 0,
    'optim.clip': 0, 'optim.eps': 0, 'optim.decay': 0, 'optim.fit_decay': 0,
    'optim.fit_warmup': 0, 'field.density_noise': 0, 'result.drop_seconds': 0}
SHARES = ('camera.by_area', 'guide.rescale', 'shading.probability', 'shading.textureless')
RANGES = ('camera.elevation_deg', 'camera.distance', 'camera.fovy_deg')
CHOICES = {'guide.name': tuple(guidance.RULES), 'timestep.rule': optim.RULES,
           'parallel.prior': ('replicated', 'fsdp'), 'shading.light': tuple(shading.LIGHTS),
           'render.normals': ('', 'analytic', 'finite'), 'field.background': backgrounds.KINDS}
LEVELS = ('timestep.min', 'timestep.max')
SCHEDULES = ('debias.clamp', 'field.bands', 'render.random_background', 'views.color',
             'views.opacity', *LEVELS)
DISTILL_SCHEDULES = ('negative',)  # those of objectives
GUIDANCE = {'latent': 7.5}  # by prior, of objectives that do not say; 4 with others


def complete(config):
  """The config with the settings of its objective for its prior (see `base.load`), where it lacks
  them, and with steps where schedules have shares of train.steps."""
  config = config.copy_and_resolve_references()
  _, defaults = base.load(config.distill.name, config.prior.name)
  defaults = {'guidance': GUIDANCE.get(config.prior.name, 4.0)} | defaults
  for name in config.distill:
    if name != 'name' and name not in defaults:
      raise ConfigError(f'config.distill.{name}: the objective {config.distill.name!r} reads '
                        f'{", ".join(defaults)}.')
  with config.unlocked():
    for name, value in defaults.items():
      if config.distill.get(name) is None:
        config.distill[name] = schedule(value) if name in DISTILL_SCHEDULES else value
    count_steps(config)
  return config.lock()


def count_steps(config):
  """Replaces shares of train.steps by steps; ConfigError for a share that is none."""
  steps = config.train.steps
  kinds = dict.fromkeys(SCHEDULES, optim.in_steps) | {
      'render.size': optim.stages_in_steps, 'shading.albedo_steps': optim.step_of,
      'distill.switch': optim.step_of}
  kinds |= {f'regularizers.{name}': optim.in_steps for name in config.get('regularizers', ())}
  kinds |= {f'distill.{name}': optim.in_steps for name in DISTILL_SCHEDULES}
  for name, convert in kinds.items():
    section, field = name.split('.')
    if field in config.get(section, ()):
      value = config[section][field]
      try:
        in_steps = convert(value, steps)
      except ValueError as error:
        raise ConfigError(f'config.{name}={value!r}: {error}.') from error
      if in_steps != value:
        config[section][field] = None  # else a ConfigDict makes a float of a number of steps
        config[section][field] = in_steps


def recdreamer(config):
  """RecDreamer's prompts as changes {dotted field: value} of a complete config: with an objective
  with the rectifier their auxiliary phrases and poses, else the texts alone."""
  return [{'prompt': listed.prompt} | ({} if 'poses' not in config.distill else {
      'auxiliary': listed.auxiliary, 'distill.poses': listed.poses,
      'distill.classes': len(listed.poses.split())}) for listed in prompts.recdreamer()]


def check(config):
  """ConfigError for the first field with an invalid value."""
  at = lambda name: getattr(config[name.split('.')[0]], name.split('.')[1])

  def demand(good, name, kind):
    if not good:
      raise ConfigError(f'config.{name}={at(name)!r} is not {kind}.')
  numbers = lambda value, count: (
      isinstance(value, (tuple, list)) and len(value) == count
      and all(isinstance(x, (int, float)) and x == x for x in value))
  plain = lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)
  for name, least in AT_LEAST.items():
    demand(at(name) >= least, name, f'{least} or more')
  for name in SHARES:
    demand(0 <= at(name) <= 1, name, 'between 0 and 1')
  demand(0 <= at('result.flat_cut') < 1, 'result.flat_cut',
         'a share of the height, 0 or more and below 1')
  for name in RANGES:
    demand(numbers(at(name), 2) and at(name)[0] <= at(name)[1], name,
           'a pair of numbers, the lower one first')
  demand(min(at('camera.distance')) > 0, 'camera.distance', 'positive')
  demand(0 < min(at('camera.fovy_deg')) and max(at('camera.fovy_deg')) < 180, 'camera.fovy_deg',
         'between 0 and 180')
  by_area = at('camera.by_area_deg')
  demand(not by_area or numbers(by_area, 2) and by_area[0] <= by_area[1], 'camera.by_area_deg',
         'a pair of numbers, the lower one first, or ()')
  demand(0 < at('guide.front_deg') <= 90, 'guide.front_deg', 'above 0 and at most 90')
  demand(0 < at('guide.overhead_deg') <= 90, 'guide.overhead_deg', 'above 0 and at most 90')
  demand(plain(at('shading.albedo_steps')) and at('shading.albedo_steps') >= 0,
         'shading.albedo_steps', '0 or more')
  shares = at('camera.sectors')
  demand(not shares or numbers(shares, len(shares)) and min(shares) >= 0 < sum(shares),
         'camera.sectors', 'a tuple of shares, or ()')
  size = at('render.size')
  stages = size if isinstance(size, (tuple, list)) else ((0, size),)
  pair = lambda stage: numbers(stage, 2) and all(type(x) is int for x in stage) and stage[1] > 0
  demand(stages and all(map(pair, stages)) and stages[0][0] == 0
         and all(a[0] < b[0] for a, b in zip(stages, stages[1:], strict=False)),
         'render.size', 'a number of pixels or a list of (first step, pixels) from step 0 on')
  demand(numbers(at('render.background'), 3), 'render.background', 'a colour of three numbers')
  for name, choices in CHOICES.items():
    demand(at(name) in choices, name, f'one of {", ".join(map(repr, choices))}')
  for name in (*SCHEDULES, *(f'regularizers.{name}' for name in config.regularizers)):
    demand(plain(at(name)) or numbers(at(name), 4), name,
           'a number or a schedule (start, from, to, end)')
  for name in (*LEVELS, 'render.random_background'):
    value = at(name)
    demand(all(0 <= x <= 1 for x in ([value] if plain(value) else value[1:3])), name,
           'between 0 and 1')
  for step in sorted({n for name in LEVELS for n in optim.bends(at(name), at('train.steps'))}):
    low, high = (optim.on_host(at(name), step) for name in LEVELS)
    if low > high:
      raise ConfigError(f'config.timestep.min={at(LEVELS[0])!r} is above config.timestep.max='
                        f'{at(LEVELS[1])!r} at step {step}: {low:g} and {high:g}.')
  steps, phases = at('train.steps'), 2 * at('timestep.phases')
  if at('timestep.rule') == 'back_and_forth' and steps % phases:
    raise ConfigError(f'config.train.steps={steps} cannot be divided into {phases} equal phases, '
                      'there and back, of config.timestep.phases.')
  for pattern, rate in at('optim.rates'):
    try:
      re.compile(pattern)
      good = plain(rate)
    except (re.error, TypeError):
      good = False
    demand(good, 'optim.rates', 'a list of (regular expression, learning rate)')


def check_levels(config, safe_range):
  """ConfigError where the noise levels of a run leave the range where its prior is reliable."""
  steps, (least, most) = config.train.steps, safe_range
  for name, beyond in zip(LEVELS, (lambda t: t < least, lambda t: t > most), strict=True):
    value = config.timestep[name.partition('.')[2]]
    for t in (optim.on_host(value, step) for step in optim.bends(value, steps)):
      if beyond(t):
        raise ConfigError(f'config.{name}={value!r} has the noise level {t:g}, but the predictions '
                          f'of this prior are reliable from {least:g} to {most:g} only.')
