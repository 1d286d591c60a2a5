"""RecDreamer's rectifier: reweights the prior density so that all poses are equally likely.

The rectified density is p_t(x_t) r(x_t) with r = sum_c f(c) / pbar_t(c) p(c | x_t) (Eqs. 10 and
11): p(c | x_t) are a classifier's probabilities of poses for the clean estimate of x_t, f the
target distribution of poses (uniform), and pbar_t a moving average of the poses in one of
`intervals` ranges of the noise level. The rectifier adds -w sigma / alpha grad_{x_0} log r to an
objective's direction (Eq. 13), differentiated through the denoiser and the decoder.

As in the paper, the averages are of p(c | x_t), the classifier's answers on the clean estimates
(Alg. 1 line 5, Eq. 19); `feed` render is a variant of this project: averages of its answers on the
renders, which describe the field alone. The two differ at high noise, where a clean estimate shows
the poses that the prior prefers: with renders the rectifier has no effect there once the poses of
the field are even. Either way it is a feedback controller. For uniform f its gradient is 0 when the
averages are uniform; with averages of renders and an exact classifier it is stationary, against the
gradient of the prior, at pbar ~ sqrt(p_prior f) (docs/results/toy.md). `n_ema` is the length of the
averages in views. At `rect_scale` 1, the paper's formula, its direction is small against that of
the objective; the authors' code multiplies it by the number of latent entries, and then clamps it.
The clamp is per view, to `clamp` times the norm of the objective's direction: the norm of x_0, as
in the authors' code, or, with `clamp_space` image, the norm of both directions pulled back through
the encoder to the pixels of the render, as in the paper. The clean estimate is that of eps(x_t, y),
as in the paper; the authors' code takes the guided prediction, as `tweedie` guided does: twice as
many rows of the denoiser are differentiated. Both terms share one x_t, as in the paper; with
`noise` fresh, as in the code, the rectifier draws one of its own.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import image, modules, rng
from jax3dgen.core.camera import SECTORS
from jax3dgen.core.errors import ConfigError
from jax3dgen.distill import base, sds
from jax3dgen.prior import base as priors

DEFAULTS = {
    'classifier': 'templates',  # pose classifier: module of jax3dgen/perception, or on the path
    'templates': '',  # its pictures: folder, prior (sampled), or empty, sketches, turned: shipped
    'samples': 16,  # pictures of each view that templates=prior samples and chooses from
    'poses': '',  # its classes, as 'front left+right back'; empty: one for each template
    'features': '',  # folder of the DINOv2 for its features; empty: the small network shipped
    'temperature': 0.05,  # of the classifier's softmax; the paper's 0.05, its code 0.01
    'parts': 'both',  # its similarity: both, texture or orientation
    'form': 'matched',  # its formulas: matched (RecDreamer's code), printed (paper) or hybrid
    'classes': 4,  # number of its classes
    'sees': 'estimate',  # its input: the clean estimate of x_t, or noisy, x_t itself
    'tweedie': 'conditional',  # noise prediction behind the clean estimate: conditional or guided
    'noise': 'shared',  # of x_t: shared with the objective's, or fresh, another forward pass
    'decode': 1.0,  # size of its input over that of x_0; half a latent's size costs a quarter
    'intervals': 10,  # ranges of the noise level with an average of their own
    'n_ema': 25,  # number of views with 90 percent of the weight of an average
    'fixed': (),  # shares of the poses in place of averages (RecDreamer Fig. 4); (): averages
    'rect_scale': 30.0,  # times the rectifier's direction; 1: the paper's Eq. 13
    'clamp': 1.0,  # bound of its norm over that of the objective's direction, for each view
    'clamp_space': 'prior',  # space of these norms: prior (x_0) or image (through the encoder)
    'floor': 0.01,  # lower bound of the averages in Eq. 11
    'feed': 'estimate',  # input of the averages: estimate (the paper) or render
    'control': False,  # target the pose of the camera instead (RecDreamer C.5): no averages
    'detach_denoiser': False,  # leave the denoiser's Jacobian out: cheaper, another direction
    'remat': False,  # compute the denoiser twice instead of storing its activations
}
CHOICES = {'clamp_space': ('prior', 'image'), 'feed': ('render', 'estimate'),
           'sees': ('estimate', 'noisy'), 'tweedie': ('guided', 'conditional'),
           'noise': ('shared', 'fresh')}


def decay(n_ema):
  """The weight of a new view with which the last n_ema views have 90 % of all weight."""
  return 1.0 - 0.1**(1.0 / n_ema)


def interval(t, count):
  """The index of noise levels t [...] among `count` equal ranges of [0, 1]; 0 is the least noise.
  """
  return jnp.minimum((t * count).astype(jnp.int32), count - 1)


def update_averages(table, rows, probabilities, rate):
  """The averages [N, K] after the views in order, with probabilities [B, K] in rows [B]."""
  def add(table, pair):
    row, p = pair
    return table.at[row].set((1 - rate) * table[row] + rate * p), None
  return jax.lax.scan(add, table, (rows, probabilities))[0]


def predict(prior, params, x_t, view, cfg):
  """The noise prediction at x_t behind the clean estimate (`cfg.tweedie`)."""
  if cfg.tweedie == 'guided':
    return base.guided(prior, params, x_t, view.t, view, cfg.guidance)
  return prior.predict(params, x_t, view.t, base.rows(view))


def guided_prediction(prior, params, x_t, view, cfg, eps_hat):
  """The guided prediction at x_t from `predict`'s eps_hat there; None where it takes other rows."""
  if cfg.tweedie == 'guided':
    return eps_hat
  if view.guide is not base.classifier_free:
    return None
  null = prior.predict(params, x_t, view.t, base.repeat(view.prompt.null, len(x_t)))
  return priors.guide(null, eps_hat, cfg.guidance)


def camera_pose(view, cfg):
  """The pose of each camera as a one-hot row [B, K]: of config.distill.poses, or of `classes` equal
  sectors. Ones for all poses, which have no gradient, where the camera's is not among them."""
  if not cfg.poses:
    return jax.nn.one_hot(base.sector(view, cfg.classes), cfg.classes)
  groups = [group.split('+') for group in cfg.poses.split()]
  table = np.array([[pose in group for group in groups] for pose in SECTORS], np.float32)
  table[~table.any(1)] = 1.0
  return jnp.asarray(table)[base.sector(view, len(SECTORS))]


def clamp(change, g, ratio, norm):
  """(change [B, ...] scaled down, view by view, to at most `ratio` times the `norm` of g; whether
  each of the views [B] was)."""
  length, bound = norm(change), ratio * norm(g)
  scale = jnp.minimum(bound / jnp.where(length > 0, length, 1.0), 1.0)
  return priors.broadcast(scale, change) * change, length > bound


def norms(x):
  """The norm [B] of each view of x [B, ...]."""
  return jnp.sqrt(jnp.sum(x**2, tuple(range(1, x.ndim))))


def pixel_norms(prior, params, picture):
  """`norms` of directions in x_0 [B, ...] pulled back through the encoder to the pixels of
  `picture` [B, H, W, 3]."""
  pull = jax.vjp(lambda x: prior.encode(params, x), picture)[1]
  return lambda x: norms(pull(x)[0])


def classify_by_module(params, image, t, cfg):
  """Probabilities [B, K] by the module `cfg.classifier`, whose arrays are params['classifier']."""
  module = modules.find('jax3dgen.perception', cfg.classifier, 'config.distill.classifier',
                        'classify')
  return module.classify(params['classifier'], image, t, cfg)


def rectified(inner, classify=classify_by_module):
  """The Distillation `inner` with the rectifier.

  classify(params, image [B, H, W, 3] in [0, 1], t [B], cfg) -> probabilities [B, K], with the
  prior's `params`; t is the noise level of the image, 0 for renders and clean estimates. Buffers
  are those of `inner` and the averages [intervals, K] beside them, in which `fold` counts views.
  The noise is what `inner` draws by `base.noised`, and `guidance`, `weighting` and `clip` are its
  settings.
  """
  def init(key, params, cfg):
    for name, choices in CHOICES.items():
      if cfg[name] not in choices:
        raise ConfigError(f'config.distill.{name}={cfg[name]!r} is none of {", ".join(choices)}.')
    if cfg.fixed and (len(cfg.fixed) != cfg.classes or min(cfg.fixed) < 0 or not sum(cfg.fixed)):
      raise ConfigError(f'config.distill.fixed={cfg.fixed!r} are not the shares of {cfg.classes} '
                        'poses.')
    if not 0 < cfg.decode <= 1:
      raise ConfigError(f'config.distill.decode={cfg.decode!r} is not above 0 and at most 1.')
    for name in ('intervals', 'n_ema', 'classes'):
      if cfg[name] < 1:
        raise ConfigError(f'config.distill.{name}={cfg[name]!r} is not 1 or more.')
    state = inner.init(key, params, cfg)
    row = jnp.array(cfg.fixed or (1.0,) * cfg.classes)
    table = jnp.tile(row / row.sum(), (cfg.intervals, 1))
    return state.replace(buffers={'inner': state.buffers, 'poses': table})

  def direction(key, view, prior, params, state, cfg):
    start = base.noised(key, view, prior)
    x_t, eps_hat, pull, prediction = start[0], None, None, None
    if cfg.noise == 'fresh':
      x_t, _ = base.noised(rng.stream(key, 'rectifier'), view.replace(start=None), prior)
    if cfg.sees == 'estimate':
      at = lambda x: predict(prior, params, x, view, cfg)
      if cfg.detach_denoiser:
        eps_hat = at(x_t)
      else:
        eps_hat, pull = jax.vjp(jax.checkpoint(at) if cfg.remat else at, x_t)
      if inner.guided and cfg.noise == 'shared':  # one forward pass serves both directions
        prediction = guided_prediction(prior, params, x_t, view, cfg, eps_hat)
    g, inner_state, metrics = inner.direction(
        key, view.replace(start=start, prediction=prediction), prior, params,
        state.replace(buffers=state.buffers['inner']), cfg)
    row = interval(view.t, cfg.intervals)
    marginal = jnp.maximum(state.buffers['poses'], cfg.floor)[row]

    def log_r(x_t, eps_hat):
      p = probabilities(x_t, eps_hat)
      if p.shape[-1] != cfg.classes:
        raise ConfigError(f'The classifier has {p.shape[-1]} poses, not '
                          f'config.distill.classes={cfg.classes}.')
      if cfg.control:
        r = (camera_pose(view, cfg) * p).sum(-1)
      else:  # exactly 1, and without a gradient, where the averages are uniform
        r = 1.0 + ((1.0 / cfg.classes / marginal - 1.0) * p).sum(-1)
      return jnp.log(jnp.maximum(r, 1e-20)).sum(), p

    def probabilities(x_t, eps_hat):
      if cfg.sees == 'noisy':
        return classify(params, prior.decode(params, x_t), view.t, cfg)
      clean = priors.x0_from_eps(prior.schedule, x_t, view.t, eps_hat)
      if cfg.get('clip', False):
        clean = jnp.clip(clean, -1.0, 1.0)
      clean = image.resize(clean, [round(cfg.decode * n) for n in clean.shape[1:3]])
      return classify(params, prior.decode(params, clean), 0 * view.t, cfg)

    (slope, slope_eps), p = jax.grad(log_r, (0, 1), has_aux=True)(x_t, eps_hat)
    if pull is not None:
      slope = slope + pull(slope_eps)[0]
    _, sigma = priors.coefficients(prior.schedule, view.t, x_t)
    change = -cfg.rect_scale * sds.weight(cfg.weighting, prior, view.t, x_t) * sigma * slope
    norm = norms if cfg.clamp_space == 'prior' else pixel_norms(prior, params, view.image)
    bounded, over = clamp(change, g, cfg.clamp, norm)
    table = state.buffers['poses']
    if cfg.feed == 'render' and not cfg.fixed:
      p = classify(params, view.image, 0 * view.t, cfg)
    metrics = metrics | {
        'rectifier': (norms(change) / jnp.maximum(norms(g), 1e-12)).mean(),
        'clamped': over.mean(),
        'rarest_pose': table.min(),
        'pose_entropy': -(table * jnp.log(jnp.maximum(table, 1e-12))).sum(-1).mean()}
    state = inner_state.replace(buffers={'inner': inner_state.buffers, 'poses': table},
                                observed={'inner': inner_state.observed, 'poses': (row, p)})
    return g + bounded, state, metrics

  def fold(buffers, observed, cfg):
    table, below = buffers['poses'], buffers['inner']
    if not cfg.fixed:
      table = update_averages(table, *observed['poses'], decay(cfg.n_ema))
    if inner.fold is not None:
      below = inner.fold(below, observed['inner'], cfg)
    return {'inner': below, 'poses': table}

  def denoiser_rows(cfg, guided):
    """Those of `inner`, and the way back through the prediction that the estimate is made of; that
    prediction itself where the objective does not need it."""
    rows = inner.denoiser_rows(cfg, guided)
    if cfg.sees == 'noisy':
      return rows
    estimate = guided if cfg.tweedie == 'guided' else 1
    shared = (inner.guided and cfg.noise == 'shared'
              and (cfg.tweedie == 'guided' or guided == 2))
    return rows + estimate * (not cfg.detach_denoiser) + estimate * (not shared)

  return base.Distillation(init, direction, inner.fit, inner.guided, denoiser_rows, fold)
