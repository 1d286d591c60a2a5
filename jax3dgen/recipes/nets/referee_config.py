"""The configuration of training the referee: every field, its default and what it means.

The comment behind a field is its help text. The defaults made the shipped weights.
"""

from ml_collections import ConfigDict


def default_config():
  """A locked ConfigDict; an unknown field raises."""
  c = ConfigDict()
  c.seed = 0  # seeds the initial weights and every picture

  c.net = ConfigDict()
  c.net.widths = (32, 64, 96)  # channels at 16, 8 and 4 pixels
  c.net.hidden = 64  # width of the layer that the heads share

  c.views = ConfigDict()
  c.views.elevation_deg = (-10.0, 40.0)  # range of elevations of most views
  c.views.steep_deg = 60.0  # highest elevation of the other ones
  c.views.steep_share = 0.2  # share of the other ones
  c.views.distance = (2.6, 3.3)  # range of distances; the object fits the unit ball
  c.views.fovy_deg = 40.0  # vertical field of view
  c.views.shift = 0.12  # the camera moves sideways by up to this many units
  c.views.face_share = 0.12  # a face is visible where it covers this share of the figurine
  c.views.ring_distance = 2.9  # distance of the rings of views on which the face arcs are measured

  c.data = ConfigDict()
  c.data.strength = 1.0  # how much the pictures are spoilt; 0: not at all
  c.data.clean = 0.3  # share of the pictures that are not spoilt
  c.data.rejects = 0.2  # share of the pictures that show no figurine
  c.data.spread_deg = 3.0  # width of the soft azimuth labels

  c.optim = ConfigDict()
  c.optim.rate = 2e-3  # Adam's largest learning rate
  c.optim.b2 = 0.99  # Adam's second-moment decay
  c.optim.warmup = 100  # steps of rising learning rate; then it falls to 0 as a cosine
  c.optim.clip = 1.0  # bound of the global gradient norm
  c.optim.ema = 0.998  # decay of the averaged weights that are shipped

  c.train = ConfigDict()
  c.train.steps = 3500  # optimisation steps; the learning rate is scheduled over them
  c.train.batch = 128  # pictures per step, over all devices together
  c.train.max_skipped = 20  # stop after this many non-finite gradients in a row

  c.test = ConfigDict()
  c.test.count = 12000  # held-out pictures, clean and spoilt
  c.test.rejects = 1000  # held-out pictures of each sort of no figurine

  c.log = ConfigDict()
  c.log.every = 20  # steps between rows of metrics.csv

  c.checkpoint = ConfigDict()
  c.checkpoint.every = 250  # steps between checkpoints
  c.checkpoint.keep = 2  # newest checkpoints that are kept
  return c.lock()
