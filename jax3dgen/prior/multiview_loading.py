"""The multi-view prior that a config names."""

from ml_collections import ConfigDict

from jax3dgen.core.errors import ConfigError
from jax3dgen.prior import multiview, multiview_latent


def default_config():
  """The section `prior` of a config, not locked."""
  c = ConfigDict()
  c.prior = ConfigDict()
  c.prior.weights = ''  # '': the shipped weights; a folder of others, or in diffusers' layout
  c.prior.trained = ''  # for the latter: a folder of leaves that were trained on it; '': none
  c.prior.dtype = 'float32'  # of published weights and their products: float32 or bfloat16
  c.prior.size = 0  # pixels per side at which published weights encode; 0: those of their training
  c.prior.tile = 0  # latent cells per side of the tiles of their autoencoder; 0: whole images
  c.prior.remat = False  # recompute the blocks of a published U-Net in the backward pass
  return c.prior


def with_trained(c, folder):
  """The section `c` with the leaves that were trained from it, in a folder."""
  c = c.copy_and_resolve_references()
  c['trained' if multiview_latent.is_published(c.weights) else 'weights'] = str(folder)
  return c


def load(c):
  """(MultiviewPrior, params, condition) of the section `c`, by what the folder c.weights holds.

  WeightError or ConfigError where it cannot be loaded.
  """
  if multiview_latent.is_published(c.weights):
    return multiview_latent.load(c.weights, c.trained, c.dtype, c.size or None, c.tile or None,
                                 c.remat)
  if c.trained:
    raise ConfigError('config.prior.trained is for leaves trained on published weights, but '
                      f'config.prior.weights={c.weights!r} is not in the layout of diffusers.')
  return multiview.load(c.weights)
