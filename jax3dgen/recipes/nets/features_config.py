"""The configuration of training the features: every field, its default and what it means.

The comment behind a field is its help text. The defaults made the shipped weights.
"""

from ml_collections import ConfigDict

from jax3dgen.data import figurine_views


def default_config():
  """A locked ConfigDict; an unknown field raises."""
  c = ConfigDict()
  c.seed = 0  # seeds the initial weights and every picture

  c.net = ConfigDict()
  c.net.width = 96  # channels of the class token and of the patches
  c.net.depth = 4  # blocks
  c.net.heads = 4  # heads of attention in each block
  c.net.patch = 4  # pixels per side of a patch
  c.net.branch = 1.0  # scale of the blocks' branches before training

  c.views = figurine_views.default_config().views

  c.augment = ConfigDict()
  c.augment.shift = 0.3  # crops move by up to this; the picture runs from -1 to 1
  c.augment.scale = (0.75, 1.2)  # range of the crops' sizes, across and down each for itself
  c.augment.shear = 0.1  # most that a crop's columns lean, as a slope
  c.augment.hue = 0.3  # share of the crops whose hues are turned by any angle
  c.augment.mix = 0.1  # spread of the random part of how colour channels are mixed
  c.augment.tone = 0.3  # brightness, contrast and saturation change by up to this
  c.augment.grey = 0.2  # share of the crops without colour
  c.augment.lines = 0.1  # share of the crops of which only outlines are left
  c.augment.strength = 1.0  # how much the crops are spoilt as radiance fields do; 0: not at all
  c.augment.clean = 0.3  # share of the crops that are not spoilt

  c.loss = ConfigDict()
  c.loss.temperature = 0.1  # of the softmax over class tokens
  c.loss.patch_temperature = 0.2  # of the softmax over patches
  c.loss.patches = 12  # patches of each picture that are compared
  c.loss.patch_weight = 0.5  # of the loss of patches; that of class tokens has 1

  c.optim = ConfigDict()
  c.optim.rate = 1.5e-3  # AdamW's largest learning rate
  c.optim.b2 = 0.98  # AdamW's second-moment decay
  c.optim.decay = 0.05  # AdamW's weight decay, on matrices only
  c.optim.warmup = 100  # steps of rising learning rate; then it falls to 0 as a cosine
  c.optim.clip = 1.0  # bound of the global gradient norm
  c.optim.ema = 0.995  # decay of the averaged weights that are shipped

  c.train = ConfigDict()
  c.train.steps = 1800  # optimisation steps; the learning rate is scheduled over them
  c.train.batch = 96  # pictures per step, two crops of each, over all devices together
  c.train.figurines = 4  # figurines that a step's pictures show, each from as many sides
  c.train.max_skipped = 20  # stop after this many non-finite gradients in a row

  c.test = ConfigDict()
  c.test.count = 4000  # held-out pictures among which neighbours are looked for

  c.log = ConfigDict()
  c.log.every = 20  # steps between rows of metrics.csv

  c.checkpoint = ConfigDict()
  c.checkpoint.every = 250  # steps between checkpoints
  c.checkpoint.keep = 2  # newest checkpoints that are kept
  return c.lock()
