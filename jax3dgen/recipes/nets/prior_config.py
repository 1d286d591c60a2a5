"""The configuration of training the embedded prior: every field, its default and what it means.

The comment behind a field is its help text. The shipped weights have their own config beside them,
in training.json.
"""

from ml_collections import ConfigDict


def default_config():
  """A locked ConfigDict; an unknown field raises."""
  c = ConfigDict()
  c.seed = 0  # seeds the initial weights and everything that is drawn
  c.init = ''  # continue from the EMA weights of this folder, 'shipped' for the package's; '': none

  c.net = ConfigDict()
  c.net.channels = (48, 96, 192)  # channels at 1/2, 1/4 and 1/8 of the image's size
  c.net.embedding = 256  # width of the embedding of noise level and caption
  c.net.head_width = 48  # channels of an attention head
  c.net.expansion = 2  # hidden width of an attention block's MLP, in units of its channels

  c.text = ConfigDict()
  c.text.width = 96  # width of the caption encoder
  c.text.depth = 2  # its layers
  c.text.heads = 4  # its attention heads

  c.data = ConfigDict()
  c.data.size = 32  # pixels per side
  c.data.spread_deg = 30.0  # standard deviation of the azimuth about the front
  c.data.uniform = 0.1  # share of the views whose azimuth is uniform instead
  c.data.above = 0.08  # share of the views from above
  c.data.phrase = 0.5  # share of the captions that name the view
  c.data.double_phrase = 0.03  # share of the captions that name two views, one of them wrongly
  c.data.degraded = 0.05  # share of the images that are spoilt, and say so
  c.data.hat = 0.1  # share of the figurines that wear a hat

  c.loss = ConfigDict()
  c.loss.gamma = 5.0  # min-SNR weighting of the v loss
  c.loss.floor = 0.05  # added to that weight
  c.loss.dropout = 0.1  # share of the captions that are dropped, for guidance

  c.optim = ConfigDict()
  c.optim.rate = 1.2e-3  # Adam's learning rate after the warm-up
  c.optim.b2 = 0.99  # Adam's second-moment decay
  c.optim.warmup = 200  # steps of linear warm-up
  c.optim.decay = 0.6  # share of all steps, at the end, over which the rate falls to 0
  c.optim.clip = 1.0  # bound of the global gradient norm
  c.optim.ema = 0.998  # decay of the averaged weights that are shipped

  c.train = ConfigDict()
  c.train.steps = 20000  # optimisation steps; the learning rate is scheduled over them
  c.train.batch = 32  # images per step, over all devices together
  c.train.max_skipped = 20  # stop after this many non-finite gradients in a row

  c.sample = ConfigDict()
  c.sample.steps = 24  # DDIM steps of the sample grids
  c.sample.guidance = 4.0  # their guidance scale
  c.sample.every = 1000  # steps between sample grids

  c.log = ConfigDict()
  c.log.every = 20  # steps between rows of metrics.csv

  c.checkpoint = ConfigDict()
  c.checkpoint.every = 500  # steps between checkpoints
  c.checkpoint.keep = 2  # newest checkpoints that are kept
  return c.lock()
