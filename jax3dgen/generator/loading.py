"""The generator that a config names."""

from ml_collections import ConfigDict

from jax3dgen.core import modules


def default_config():
  """The section `generator` of a config, not locked."""
  c = ConfigDict()
  c.generator = ConfigDict()
  c.generator.name = ''  # embedded, trellis, or a module on the path; '': by the weights
  c.generator.weights = ''  # a folder, for trellis in its published layout; '': shipped
  c.generator.dtype = 'float32'  # of the products in TRELLIS's blocks: float32 or bfloat16
  c.generator.image = ''  # DINOv2's weights for TRELLIS; '': those in its folder
  return c.generator


def load(c):
  """(generator, params) of the section `c`. WeightError or ConfigError where it cannot be loaded.
  """
  name = c.name or ('trellis' if c.weights else 'embedded')
  module = modules.find('jax3dgen.generator', name, 'config.generator.name', 'load')
  # Tuning of the full size needs its blocks recomputed; without gradients that changes nothing.
  options = ({'dtype': c.dtype, 'image': c.image or None, 'remat': True} if name == 'trellis'
             else {})
  return module.load(c.weights or None, **options)
