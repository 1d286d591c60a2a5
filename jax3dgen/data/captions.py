"""Random captions of figurines as token ids, jittable.

A caption is a row of slots (article, quality, noun, colour, kind, hat, quality, view phrases). An
empty slot holds 0; words are then moved to the front and padding to the end. Axes: B captions, L =
LENGTH tokens.
"""

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import camera as cameras
from jax3dgen.core import rng
from jax3dgen.core.types import Array
from jax3dgen.data import figurine_parts as parts
from jax3dgen.data import prompts
from jax3dgen.prior import words

LENGTH = 16
ABOVE = np.deg2rad(40.0)  # a view is 'from above' beyond this elevation
QUALITIES = ('sharp', 'detailed', 'clear')
WORDS = ('', 'a', 'of', 'with', 'wearing', 'hat', 'from', 'view', 'front', 'side', 'back', 'above',
         'toy', 'figurine', 'photo', 'image', 'render', 'small', 'little', 'cute', 'plastic',
         *QUALITIES, *prompts.DEGRADATIONS[1:], *parts.COLORS, *parts.KINDS)

SAYS_HAT = 0.8  # share of the hats that captions mention
SAYS_QUALITY = 0.1  # share of the clean images whose caption has a QUALITIES word
ONLY_FAULTS = 0.2  # share of the degraded images whose caption is `prompts.NEGATIVE`


def _table(texts, width):
  return jnp.asarray(words.tokenize(texts, WORDS, width))


@struct.dataclass
class Caption:
  """tokens [B, L] int32; phrase and second [B] int32 are the view phrases in it, indices into
  `prompts.VIEW_PHRASES` (0 = none): `phrase` is true of the image, `second` is not."""
  tokens: Array
  phrase: Array
  second: Array


def view_phrase(camera):
  """The phrase [B] (index into `prompts.VIEW_PHRASES`) that is true of each camera."""
  around = jnp.array([1, 3, 2, 2], jnp.int32)[cameras.view_class(camera.azimuth)]
  return jnp.where(camera.elevation > ABOVE, 4, around)


def decode(tokens):
  """The texts of tokens [B, L]."""
  return [' '.join(WORDS[i] for i in row if i) for row in np.asarray(tokens)]


def sample_captions(key, kind, color, hat, view, degradation, *, phrase, double_phrase):
  """A random true Caption for each of B images.

  kind, color, hat, view (as `view_phrase`) and degradation (index into `prompts.DEGRADATIONS`) are
  [B] int32. A caption has a view phrase with probability `phrase`; the share `double_phrase` of all
  captions has two, in any order, of which one is true.
  """
  batch = kind.shape[0]
  uniform = lambda name: jax.random.uniform(rng.stream(key, name), (batch,))
  pick = lambda name, n: jax.random.randint(rng.stream(key, name), (batch,), 0, n)
  articles = _table(['a', '', 'a', 'a', 'a', 'a', 'a', 'a'], 1)
  nouns = _table(['', '', 'toy', 'figurine of a', 'photo of a', 'image of a', 'render of a', ''], 3)
  adjectives = _table(['small', 'little', 'cute', 'plastic'], 1)
  hats = _table(['', 'with a hat', 'wearing a hat'], 3)
  faults = _table(prompts.DEGRADATIONS, 1)
  praise = _table(QUALITIES, 1)
  views = jnp.stack([_table(prompts.VIEW_PHRASES, 3),
                     _table([f'from {p}' if 'view' in p else p for p in prompts.VIEW_PHRASES], 3)])

  template = pick('template', articles.shape[0])
  adjective = jnp.where((template == 7)[:, None], adjectives[pick('adjective', 4)], 0)
  says_hat = (hat > 0) & (uniform('says_hat') < SAYS_HAT)
  early = (uniform('early') < 0.5)[:, None]  # 'a blurry red bear' or 'a red bear, blurry'
  fault = faults[degradation]
  quality = jnp.where(((degradation == 0) & (uniform('quality') < SAYS_QUALITY))[:, None],
                      praise[pick('praise', len(QUALITIES))], fault)

  has_second = (uniform('double') < double_phrase) & (view < 4)
  has_phrase = has_second | (uniform('phrase') < phrase)
  other = 1 + (view + pick('other', 2)) % 3  # another of front, side, back
  phrase, second = jnp.where(has_phrase, view, 0), jnp.where(has_second, other, 0)
  swap = has_second & (uniform('swap') < 0.5)
  form = jnp.where(has_second, 1, pick('form', 2))
  slots = [articles[template], jnp.where(early, quality, 0), adjective, nouns[template],
           _table(parts.COLORS, 1)[color], _table(parts.KINDS, 1)[kind],
           hats[jnp.where(says_hat, 1 + pick('hat_form', 2), 0)], jnp.where(early, 0, quality),
           views[form, jnp.where(swap, second, phrase)],
           views[form, jnp.where(swap, phrase, second)]]
  tokens = jnp.concatenate(slots, -1)
  order = jnp.argsort(tokens == 0, axis=-1, stable=True)
  tokens = jnp.take_along_axis(tokens, order, -1)[:, :LENGTH]

  bare = (degradation > 0) & (uniform('bare') < ONLY_FAULTS)
  tokens = jnp.where(bare[:, None], _table([prompts.NEGATIVE], LENGTH), tokens)
  return Caption(tokens, jnp.where(bare, 0, phrase), jnp.where(bare, 0, second))
