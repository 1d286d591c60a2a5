"""The configuration of training the text-image model: every field, its default, what it means.

The comment behind a field is its help text. The defaults made the shipped weights.
"""

from ml_collections import ConfigDict


def default_config():
  """A locked ConfigDict; an unknown field raises."""
  c = ConfigDict()
  c.seed = 0  # seeds the initial weights, every picture and every caption

  c.net = ConfigDict()
  c.net.widths = (24, 48, 64)  # channels at 16, 8 and 4 pixels
  c.net.embedding = 64  # length of the vectors that images and captions become

  c.text = ConfigDict()
  c.text.width = 64  # width of the caption encoder
  c.text.depth = 2  # its layers
  c.text.heads = 4  # its attention heads

  c.data = ConfigDict()
  c.data.phrase = 0.7  # share of the captions that name the view
  c.data.above = 0.15  # share of the views from above
  c.data.hat = 0.2  # share of the figurines that wear a hat
  c.data.strength = 1.0  # how much the pictures are spoilt; 0: not at all
  c.data.clean = 0.4  # share of the pictures that are not spoilt

  c.optim = ConfigDict()
  c.optim.rate = 2e-3  # Adam's largest learning rate
  c.optim.b2 = 0.99  # Adam's second-moment decay
  c.optim.warmup = 100  # steps of rising learning rate; then it falls to 0 as a cosine
  c.optim.clip = 1.0  # bound of the global gradient norm
  c.optim.ema = 0.998  # decay of the averaged weights that are shipped

  c.train = ConfigDict()
  c.train.steps = 600  # optimisation steps; the learning rate is scheduled over them
  c.train.batch = 128  # pairs per step, over all devices together; each contrasts its own
  c.train.max_skipped = 20  # stop after this many non-finite gradients in a row

  c.test = ConfigDict()
  c.test.count = 6000  # held-out pictures, clean and spoilt

  c.log = ConfigDict()
  c.log.every = 20  # steps between rows of metrics.csv

  c.checkpoint = ConfigDict()
  c.checkpoint.every = 250  # steps between checkpoints
  c.checkpoint.keep = 2  # newest checkpoints that are kept
  return c.lock()
