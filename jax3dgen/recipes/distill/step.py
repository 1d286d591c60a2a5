"""One step of score distillation: cameras -> render -> encode -> direction -> vjp -> optimiser.

`make_step` calls `render_view`, the objective's `direction`, `descend_field` and `fit_critic`, in
this order. What a step renders is a function, the `observe` of `make_step`, so that the same step
serves a field (`field_views`) and images (`recipes/particles`).

The step runs under jit, vmap(axis_name) and pmap alike; its collectives are the means of gradients,
buffers and metrics, and the gathering of what views observed. What is captured when the step is
built is static, what is passed to it is traced. All random numbers follow from fold_in(key, step),
so a resumed run repeats an unbroken one.
"""

import functools
import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jax3dgen.core import camera as cameras
from jax3dgen.core import image, rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import View
from jax3dgen.distill import base, guidance
from jax3dgen.prior import linear
from jax3dgen.recipes.distill import views as known_views
from jax3dgen.scene import regularizers, render, shading
from jax3dgen.train import optim

DEGREE = math.pi / 180


def cameras_of(cfg, key_shared, key, batch, index, count):
  """This device's `batch` cameras of one step; angles of the config are in degrees."""
  c = cfg.camera
  radians = lambda pair: (pair[0] * DEGREE, pair[1] * DEGREE)
  return cameras.sample_orbit(key_shared, key, batch, index, count, radians(c.elevation_deg),
                              c.distance, radians(c.fovy_deg), c.sectors, c.by_area,
                              c.by_area_deg and radians(c.by_area_deg))


def noise_levels(cfg, key, batch, step):
  """t [batch], uniform in the range that config.timestep gives this step."""
  low, high = (optim.scalar(value, step) for value in (cfg.timestep.min, cfg.timestep.max))
  low, high = optim.noise_range(cfg.timestep.rule, low, high, step, cfg.train.steps,
                                cfg.timestep.phases)
  return low + (high - low) * jax.random.uniform(key, (batch,))


class Stage(NamedTuple):
  """The static settings that may change during a run: pixels per side of the training views, and
  whether x_0 is a linear map of their colours (`prior.linear`). A compiled program each."""
  size: int
  linear: bool = False


def stage_at(cfg, step):
  """The Stage of a step; config.render.size may be a list of stages."""
  size = cfg.render.size
  size = size if isinstance(size, int) else [n for first, n in size if first <= step][-1]
  return Stage(size, step < cfg.render.latent_steps)


def render_options(cfg):
  """The renderer's static settings."""
  r = cfg.render
  return render.RenderOptions(n_samples=r.n_samples, n_importance=r.n_importance,
                              normals=r.normals or None)


def render_views(cfg, field, params, rays, camera, key, frac, step):
  """(images [B, H, W, 3] over the run's background, Rendering) of training views.

  With config.shading.probability > 0 a view may be lit by a point light, or be so without texture.
  """
  query = functools.partial(field.query, key=rng.stream(key, 'density'))
  out = render.render_rays(rng.stream(key, 'ray'), query, params, rays, render_options(cfg), frac)
  if cfg.shading.probability > 0:
    style = shading.draw_style(rng.stream(key, 'style'), step, cfg.shading.albedo_steps,
                               cfg.shading.probability, cfg.shading.textureless)
    light = shading.LIGHTS[cfg.shading.light](rng.stream(key, 'light'), camera)
    out = shading.apply_style(style, out, rays, light)
  behind = background(cfg, field, params, rng.stream(key, 'background'), rays, step)
  return shading.composite(out, behind), out


def background(cfg, field, params, key, rays, step):
  """Colours [B, H, W, 3] behind training views: the field's or the config's, or at random a random
  one."""
  if field.background:
    usual = field.background(params, rays.direction)
  else:
    usual = shading.constant(cfg.render.background)(rays.direction)
  if not cfg.render.random_background:
    return usual
  which, color = jax.random.split(key)
  random = shading.random_color(color)(rays.direction)
  replaced = jax.random.bernoulli(which, optim.scalar(cfg.render.random_background, step),
                                  (usual.shape[0], 1, 1, 1))
  return jnp.where(replaced, random, usual)


def expected_points(rays, out):
  """The expected end of each ray [B, H, W], [B, H, W, 3] in the world frame."""
  distance = out.depth / jnp.maximum(out.opacity, 1e-5)
  return rays.origin + distance[..., None] * rays.direction


def mean_opacity(out):
  """Mean opacity of the rays that cross the scene's ball: 1 where fog fills every view."""
  crossing = out.mids[..., -1] > out.mids[..., 0]
  return out.opacity.sum() / jnp.maximum(crossing.sum(), 1)


def penalties(weights, out, rays, step):
  """(sum of the weighted regularisers, their values by name); a weight of 0 costs nothing."""
  total, values = jnp.zeros(()), {}
  for name, weight in sorted(weights.items()):
    if weight != 0:
      values[name] = regularizers.TERMS[name](out, rays.direction)
      total = total + optim.scalar(weight, step) * values[name]
  return total, values


def particle(cfg, tree, k):
  """Particle k of `TrainState.field` or `field_opt`."""
  return jax.tree.map(lambda x: x[k], tree) if cfg.train.particles > 1 else tree


def with_particle(cfg, tree, k, new):
  """`tree` with particle k replaced by `new`."""
  return jax.tree.map(lambda x, y: x.at[k].set(y), tree, new) if cfg.train.particles > 1 else new


def field_views(field, prior, cfg, count, stage=None):
  """The `observe` of `make_step` for a field: its train.batch / count views on each device.

  The views are rendered and encoded as the Stage says (None: the config's first).
  """
  batch, stage = cfg.train.batch // count, stage or stage_at(cfg, 0)

  def encode(params, picture):
    if not stage.linear:
      return prior.encode(params, picture)
    shape = jax.eval_shape(prior.encode, params, picture).shape
    return linear.encode(params['linear'], picture, shape[1:3])

  def observe(params, shared, local, index, step):
    camera = cameras_of(cfg, rng.stream(shared, 'turn'), rng.stream(local, 'camera'), batch, index,
                        count)
    frac = optim.scalar(cfg.field.bands, step)
    rays = cameras.rays(camera, stage.size, stage.size)

    def show(field_params):
      picture, out = render_views(cfg, field, field_params, rays, camera, local, frac, step)
      penalty, values = penalties(cfg.regularizers, out, rays, step)
      if 'views' in params:
        error, errors = known_views.penalty(cfg, render_options(cfg), field, field_params,
                                            params['views'], rng.stream(local, 'known views'),
                                            frac, step)
        penalty, values = penalty + error, values | errors
      x0 = encode(params, picture)
      points = image.resize(expected_points(rays, out), x0.shape[1:3])
      return (x0, penalty), (picture, points, values | {'opacity': mean_opacity(out)})
    return camera, show
  return observe


def guidance_rule(cfg, distillation):
  """`View.guide` of a run; ConfigError for a rule that the objective does not use."""
  rule = guidance.choose(cfg.guide.name, cfg.guide.rescale)
  if rule is not base.classifier_free and not distillation.guided:
    raise ConfigError(f'config.guide: the objective {cfg.distill.name!r} weighs its prompts by its '
                      'own formula; it takes neither perp_neg nor rescale.')
  return rule


def view_limits(cfg):
  """`View.limits` of a run."""
  return cfg.guide.front_deg * DEGREE, cfg.guide.overhead_deg * DEGREE


def with_pixels(show):
  """`show` with x_0 and the image, as `base.Gradients`, in place of x_0."""
  def both(field_params):
    (x0, penalty), aux = show(field_params)
    return (base.Gradients(x0, aux[0]), penalty), aux
  return both


def render_view(observe, field_params, params, prompt, guide, limits, pixels, keys, index, t, step):
  """(View, pull, figures) of this device's views of `field_params` at noise levels t [B].

  pull(g) is the gradient, with respect to field_params, of the objective whose gradient in x_0, or
  with `pixels` whose `base.Gradients`, is g, plus that of the regularisers. `keys` are the step's
  (shared, local).
  """
  camera, show = observe(params, *keys, index, step)
  (x0, penalty), vjp, (picture, points, figures) = jax.vjp(
      with_pixels(show) if pixels else show, field_params, has_aux=True)
  view = jax.lax.stop_gradient(View(x0.x0 if pixels else x0, picture, points, t, prompt, camera,
                                    step, guide, limits=limits))
  return view, lambda g: vjp((g, jnp.ones_like(penalty)))[0], figures


def descend_field(cfg, tx, g, pull, field_params, field_opt, step, mean):
  """(field parameters, optimiser state, whether all is finite, norm of the gradient) after a step
  down g, an array [B, h, w, c] or `base.Gradients`, which is averaged over the views."""
  if cfg.debias.clamp != 0:
    bound = optim.scalar(cfg.debias.clamp, step)
    g = jax.tree.map(lambda x: jnp.clip(x, -bound, bound), g)
  grads = mean(pull(jax.tree.map(lambda x: x / len(x), g)))
  field_params, field_opt, finite = optim.update(tx, grads, field_opt, field_params)
  return field_params, field_opt, finite, optax.tree.norm(grads)


def fit_critic(cfg, distillation, fit_tx, key, view, prior, params, distill, fit_opt, mean):
  """(trainable, optimiser state, whether all is finite, metrics) after a step of the objective's
  own loss; as they are for an objective without one."""
  if distillation.fit is None:
    return distill.trainable, fit_opt, True, {}
  loss, grads = jax.value_and_grad(distillation.fit)(distill.trainable, key, view, prior, params,
                                                     distill, cfg.distill)
  trainable, fit_opt, finite = optim.update(fit_tx, mean(grads), fit_opt, distill.trainable)
  return trainable, fit_opt, finite, {'fit': loss}


def make_step(observe, prior, distillation, tx, fit_tx, cfg, count, axis_name=None):
  """step(state, params, prompt, key) -> (state, metrics) for one of `count` devices.

  observe(params, shared, local, index, step) -> (Camera, show) of a device's views, where
  show(field parameters) -> ((x_0 [B, h, w, c], penalty []), (image, points, figures)); `shared` and
  `local` are the step's keys, `index` the device. `cfg` is the whole frozen config; `params` are
  the prior's parameters, `prompt` a types.Prompt, `key` the run's root key. With several particles,
  a step moves one of them, drawn at random.
  """
  batch, guide = cfg.train.batch // count, guidance_rule(cfg, distillation)
  limits = view_limits(cfg)
  mean = (lambda x: jax.lax.pmean(x, axis_name)) if axis_name else (lambda x: x)
  gather = (lambda x: jax.lax.all_gather(x, axis_name, tiled=True)) if axis_name else (lambda x: x)

  def step(state, params, prompt, key):
    shared = jax.random.fold_in(key, state.step)
    local = rng.on_device(shared, axis_name)
    index = jax.lax.axis_index(axis_name) if axis_name else 0
    k = jax.random.randint(rng.stream(shared, 'particle'), (), 0, cfg.train.particles)
    field, field_opt = (particle(cfg, tree, k) for tree in (state.field, state.field_opt))
    t = noise_levels(cfg, rng.stream(local, 'timestep'), batch, state.step)

    view, pull, figures = render_view(observe, field, params, prompt, guide, limits,
                                      distillation.pixels, (shared, local), index, t, state.step)
    g, distill, metrics = distillation.direction(rng.stream(local, 'direction'), view, prior,
                                                 params, state.distill, cfg.distill)
    wanted = base.Gradients(view.x0, view.image) if distillation.pixels else view.x0
    chex.assert_trees_all_equal_shapes(g, wanted)
    field, field_opt, finite, grad_norm = descend_field(cfg, tx, g, pull, field, field_opt,
                                                        state.step, mean)
    trainable, fit_opt, fit_finite, fit_metrics = fit_critic(
        cfg, distillation, fit_tx, rng.stream(local, 'fit'), view, prior, params, distill,
        state.fit_opt, mean)

    finite = finite & fit_finite
    distill = base.folded(distillation, distill.replace(buffers=mean(distill.buffers)), cfg.distill,
                          gather)
    buffers = jax.tree.map(lambda new, old: jnp.where(finite, new, old), distill.buffers,
                           state.distill.buffers)
    bad = 1 - finite.astype(jnp.int32)
    state = state.replace(
        step=state.step + 1, field=with_particle(cfg, state.field, k, field),
        field_opt=with_particle(cfg, state.field_opt, k, field_opt),
        distill=distill.replace(buffers=buffers, trainable=trainable), fit_opt=fit_opt,
        skipped=(state.skipped + 1) * bad, skipped_total=state.skipped_total + bad)
    metrics = mean(metrics | fit_metrics | figures | {'t': t.mean()})
    return state, metrics | {'grad_norm': grad_norm, 'nonfinite': bad.astype(jnp.float32),
                             'skipped': state.skipped.astype(jnp.float32)}
  return step
