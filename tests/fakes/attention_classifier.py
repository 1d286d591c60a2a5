"""A classifier, for `config.distill.classifier`, that keeps the prior's attention to two images."""

import numpy as np


def load(prompt, cfg, attention):
  return {'maps': attention(np.stack([np.zeros((16, 16, 3)), np.ones((16, 16, 3))]))}
