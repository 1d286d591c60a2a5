"""One step of training the classifier of poses in noisy pictures: it draws its own.

Axes: P pictures and B = P N rows of this device, N noises of each picture. Everything drawn follows
from (seed, step, device).
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax3dgen.core import rng
from jax3dgen.data import figurine_views
from jax3dgen.nn import noisy_pose as nets
from jax3dgen.perception import noisy_pose
from jax3dgen.prior import base as priors
from jax3dgen.prior import embedded
from jax3dgen.recipes.nets import referee_step


def network(cfg):
  """The net of the config."""
  return nets.NoisyPose(tuple(cfg.net.channels), cfg.net.embedding, len(noisy_pose.POSES))


def init_state(key, net, tx):
  """The state before the first step (a `referee_step.RefereeState`)."""
  return referee_step.start(jax.jit(lambda key: nets.init(key, net))(key), tx)


def pictures(key, count, views):
  """(images [count, 32, 32, 3], poses [count]) of as many figurines (even), azimuths uniform."""
  images, _, camera = figurine_views.pictures(key, count, count, views)
  return images, pose_of(camera.azimuth)


def pose_of(azimuth):
  """Index into `noisy_pose.POSES` of azimuths [...] (radians): four sectors centred on the axes."""
  return jnp.floor(azimuth / (np.pi / 2) + 0.5).astype(jnp.int32) % 4


def noised(key, images, t):
  """images [B, H, W, 3] in [0, 1] as decoded x_t of the embedded prior at t [B]: they leave [0, 1].
  """
  x_t = priors.noise_to(embedded.SCHEDULE, 2.0 * images - 1.0, t,
                        jax.random.normal(key, images.shape))
  return 0.5 * (x_t + 1.0)


def objective(net, params, key, images, pose, noises):
  """(loss [], its terms): cross entropy of the poses of images [P, ...], each noised N times.

  t is uniform in the prior's safe range, so that the best net is p(pose | x_t) at every t.
  """
  images, pose = (jnp.concatenate([x] * noises) for x in (images, pose))
  low, high = embedded.SCHEDULE.safe_range
  t = jax.random.uniform(rng.stream(key, 'level'), pose.shape, minval=low, maxval=high)
  seen = noised(rng.stream(key, 'noise'), images, t)
  found = noisy_pose.logits(net, params, seen, t)
  loss = optax.softmax_cross_entropy_with_integer_labels(found, pose).mean()
  return loss, {'accuracy': (found.argmax(-1) == pose).mean()}


def make_step(net, tx, cfg, count, axis_name=None):
  """step(state) -> (state, metrics) for one of `count` devices; each draws train.batch / count."""
  def loss(params, key):
    images, pose = pictures(rng.stream(key, 'pictures'), cfg.train.batch // count, cfg.views)
    return objective(net, params, key, images, pose, cfg.train.noises)
  return referee_step.descend(loss, tx, cfg, axis_name)
