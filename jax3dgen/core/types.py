"""The pytrees that modules exchange: cameras, rays, renderings, meshes, conditions, views.

Axes: B cameras or samples, H and W image rows and columns, S samples along a ray,
L text tokens, V vertices, F faces. Frames: +z is up, cameras look along their own -z, objects fit
the unit ball, azimuth 0 looks at the object's front (+x) and grows counter-clockwise seen from
above. Angles are radians. Images are float32 in [0, 1], row 0 at the top.
"""

from collections.abc import Callable
import math
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp

from jax3dgen.core.errors import ConfigError

Array = jax.Array
DTYPES = ('float32', 'bfloat16', 'float16', 'float64')
# Their other names: of NumPy, XLA and PyTorch. Python's float is JAX's default.
ALIASES = {'f32': 'float32', 'fp32': 'float32', 'float': 'float32', 'single': 'float32',
           'bf16': 'bfloat16', 'f16': 'float16', 'fp16': 'float16', 'half': 'float16',
           'f64': 'float64', 'fp64': 'float64', 'double': 'float64'}


def float_dtype(value):
  """The dtype that `value` names: jnp.bfloat16, np.float16, a dtype of JAX, NumPy or PyTorch, or a
  text such as 'bfloat16', 'bf16' and 'fp32'. ConfigError for all but DTYPES, and for float64 where
  JAX has no 64 bits."""
  name = value if isinstance(value, str) else 'float' if value is float else str(value)
  name = name.lower().rpartition('.')[2]
  name = ALIASES.get(name, name)
  if name not in DTYPES and value is not None:
    try:
      name = jnp.dtype(value).name
    except TypeError:
      pass
  if name not in DTYPES:
    raise ConfigError(f'{value!r} is no floating dtype; those are {", ".join(DTYPES)}, or short '
                      'bf16, fp16, fp32.')
  if name == 'float64' and not jax.config.jax_enable_x64:
    raise ConfigError('float64 needs JAX with 64 bits: set JAX_ENABLE_X64=1.')
  return jnp.dtype(name)


@struct.dataclass
class Camera:
  """B pinhole (or orthographic) cameras.

  c2w [B, 4, 4] camera-to-world in the OpenGL convention (x right, y up, looks along -z), rotation
  determinant +1; azimuth, elevation (positive above), distance and fovy are [B]. An orthographic
  camera sees a window of height 2 distance tan(fovy / 2).
  """
  c2w: Array
  azimuth: Array
  elevation: Array
  distance: Array
  fovy: Array
  orthographic: bool = struct.field(pytree_node=False, default=False)


@struct.dataclass
class Rays:
  """Rays in the world frame: origin [..., 3] and unit direction [..., 3]."""
  origin: Array
  direction: Array


@struct.dataclass
class Rendering:
  """What `scene.render.render_rays` returns.

  rgb [..., 3] without background (premultiplied), opacity [...], depth [...] = sum of weight x
  distance (not divided by opacity), normal [..., 3] = sum of weight x unit normal, weights and mids
  [..., S], sample_normals [..., S, 3] or None.
  """
  rgb: Array
  opacity: Array
  depth: Array
  normal: Array | None
  weights: Array
  mids: Array
  sample_normals: Array | None = None


@struct.dataclass
class Mesh:
  """A triangle mesh, +z up: vertices [V, 3] float32 (float64 if read from a file), faces [F, 3]
  int32 (counter-clockwise seen from outside), colors [V, 3] sRGB in [0, 1] or None; `notes` say
  what of its file is ignored."""
  vertices: Array
  faces: Array
  colors: Array | None = None
  notes: tuple[str, ...] = struct.field(pytree_node=False, default=())


@struct.dataclass
class Cond:
  """The condition of a network prior: tokens [B, L, D], extra [B, E] or None."""
  tokens: Array
  extra: Array | None = None


@struct.dataclass
class Prompt:
  """A prompt embedded once per run: a condition row (no batch axis) for each use.

  `negative` names typical faults of renders; `source` is the tuple of the front, side, back and
  overhead rows with these faults added.
  """
  main: Any
  front: Any
  side: Any
  back: Any
  overhead: Any
  null: Any
  negative: Any
  source: Any


@struct.dataclass
class View:
  """The inputs of a distillation objective for one render; gradients are stopped.

  x0 [B, h, w, c] is the render in prior space, image [B, H, W, 3] the render with background,
  points [B, h, w, 3] the expected ray ends in the world frame at x0's resolution, t [B] the noise
  level in [0, 1], step [] the training step. `guide` is what `distill.base.guided` calls, `limits`
  are the radians of azimuth and elevation between the rows of the prompt (`distill.base.rows_of`).

  For an objective inside a rectifier, `start` is (x_t, eps) [B, h, w, c] and `prediction` the
  guided noise prediction at that x_t, as far as the rectifier has computed it; else None.
  """
  x0: Array
  image: Array
  points: Array
  t: Array
  prompt: Prompt
  camera: Camera
  step: Array
  guide: Callable = struct.field(pytree_node=False)
  start: Any = None
  prediction: Any = None
  limits: tuple = struct.field(pytree_node=False, default=(math.pi / 4, math.pi / 3))
