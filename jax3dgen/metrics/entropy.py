"""RecDreamer's pose entropies (pEnt, cEnt), and the distance of images from their prompt.

Both entropies are those of the mean class probability over evenly spaced views, in nats: higher is
better, ln K for an object that shows its K sides equally often, 0 for one that is the same from
all. Eq. 33 reads (1 / n) sum p log p, but neither its sign nor its factor fits the numbers of Table
1 (1.02 to 1.25, between 0 and ln 3 = 1.099 and ln 4 = 1.386), while the plain entropy does.

Axes: V views, K classes, D embedding.
"""

import chex
import numpy as np


def entropy(p):
  """-sum p ln p [...] of probabilities p [..., K], in nats; 0 ln 0 is 0."""
  p = np.asarray(p, np.float64)
  return -np.sum(p * np.log(np.where(p > 0, p, 1.0)), -1)


def of_mean(p):
  """Entropy [] of the mean over the views of probabilities p [V, K]; of poses: pEnt."""
  chex.assert_rank(p, 2)
  return float(entropy(np.asarray(p, np.float64).mean(0)))


def zero_shot(image, text, scale):
  """Zero-shot probabilities [V, K] of texts for images: softmax of `scale` times the cosines.

  image [V, D] and text [K, D] are embeddings of unit length.
  """
  logits = scale * (np.asarray(image, np.float64) @ np.asarray(text, np.float64).T)
  logits = np.exp(logits - logits.max(-1, keepdims=True))
  return logits / logits.sum(-1, keepdims=True)


def cent(image, text, scale):
  """cEnt of embeddings image [V, D] and text [K, D] of a text-image model with that `scale`.

  RecDreamer's texts are the prompt's front, side and back forms.
  """
  return of_mean(zero_shot(image, text, scale))


def text_distance(image, text):
  """1 - cosine of image [V, D] and text [D], mean over the views; lower is better.

  Embeddings have unit length. RecDreamer calls it the negative cosine, but its numbers
  (0.68 to 0.73) are 1 - cosine.
  """
  return float(1.0 - (np.asarray(image, np.float64) @ np.asarray(text, np.float64)).mean())
