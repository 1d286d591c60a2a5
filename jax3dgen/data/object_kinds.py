"""Kinds of random objects as lists of solids, drawn by a numpy generator.

Frame: the front on +x, the left on +y, +z up, the lowest point of each kind near z = 0; lengths are
relative, as `objects` scales the whole to one extent. Solids that touch overlap, and no pole or leg
is thinner than about two and a half voxels of the 32^3 grid on which the objects end, so that each
object is one body. Proportions, offsets and feet vary so that some of the objects fall over.
"""

from typing import NamedTuple

import numpy as np

from jax3dgen.data import figurine_parts as figurines

HAT_SHARE = 0.25
DARK = (0.06, 0.06, 0.08)


class Solid(NamedTuple):
  """A ball, a box or an upright cone (frustum): `center` and `size` as in `figurine_parts.Part`,
  and its colour (r, g, b) in [0, 1]."""
  shape: str
  center: tuple
  size: tuple
  rgb: tuple


def ball(x, y, z, size, rgb):
  return Solid('ball', (x, y, z), size, rgb)


def box(x, y, z, size, rgb):
  return Solid('box', (x, y, z), size, rgb)


def cone(x, y, low, low_radius, top_radius, height, rgb):
  """An upright frustum from z = `low` to `low` + `height`."""
  return Solid('cone', (x, y, low + height / 2), (low_radius, top_radius, height / 2), rgb)


def colors(rng, count):
  """`count` colours: those of the figurines, lighter or darker."""
  base = figurines.COLOR_RGB[rng.integers(len(figurines.COLOR_RGB), size=count)]
  return np.clip(base * rng.uniform(0.6, 1.15, (count, 1)), 0, 1)


def figurine(rng):
  """One of the six figurines with other proportions, the feet drawn in and narrower."""
  kind = rng.integers(len(figurines.KINDS))
  body, hat = figurines.COLOR_RGB[rng.integers(len(figurines.COLOR_RGB))], rng.random() < HAT_SHARE
  stretch = np.array([*rng.uniform(0.85, 1.2, 2), rng.uniform(0.9, 1.25)])
  feet = rng.uniform(0.5, 1.0)
  chosen = [p for p in figurines.PARTS[kind] if hat or p.region != figurines.HAT]
  sole = min(p.center[2] - p.size[2] for p in chosen)
  out = []
  for part in chosen:
    round_part = part.shape == 'cone'  # its two radii keep their ratio
    across = np.sqrt(stretch[0] * stretch[1])
    center = np.array(part.center) * stretch
    size = np.array(part.size) * ((across, across, stretch[2]) if round_part else stretch)
    if part.center[2] - part.size[2] < sole + 0.08 and part.shape != 'ball':
      center[:2] *= feet
      size[:2] *= 0.6 + 0.4 * feet
    out.append(Solid(part.shape, tuple(center), tuple(size),
                     tuple(np.array(part.paint[:3]) + part.paint[3] * body)))
  return out


def lamp(rng):
  """A base, a pole and a shade, which may sit beside the pole on an arm."""
  radius, base, pole = rng.uniform(0.14, 0.36), rng.uniform(0.11, 0.18), rng.uniform(0.6, 1.1)
  offset, thick = rng.normal(0, 0.13, 2), rng.uniform(0.08, 0.11)
  foot, stem, shade = colors(rng, 3)
  top = base + pole
  if rng.random() < 0.6:
    out = [cone(0, 0, 0, radius, radius * rng.uniform(0.6, 1), base, foot)]
  else:
    out = [box(0, 0, base / 2, (radius, radius * rng.uniform(0.7, 1.2), base / 2), foot)]
  out.append(cone(0, 0, base / 2, thick, 0.9 * thick, pole + base / 2, stem))
  height, low, high = rng.uniform(0.3, 0.5), rng.uniform(0.22, 0.44), rng.uniform(0.12, 0.3)
  if np.abs(offset).max() > 0.06:  # the arm ends inside the shade
    out.append(box(*(offset / 2), top, (*(np.abs(offset) / 2 + 0.08), 0.08), stem))
  out.append(cone(*offset, top - 0.02, low, high, height, shade))
  if rng.random() < 0.3:
    out.append(ball(*offset, top + height, (0.12, 0.12, 0.12), foot))
  return out


def _legs(rng, across, deep, height, thick, rgb, count):
  """`count` (3 or 4) legs below a seat or a top with the half sizes `across` and `deep`."""
  turn, round_leg = rng.uniform(0, 2 * np.pi), rng.random() < 0.5
  out = []
  for i in range(count):
    angle = turn + 2 * np.pi * i / count
    x, y = ((np.cos(angle), np.sin(angle)) if count == 3
            else (1 if i & 1 else -1, 1 if i & 2 else -1))
    x, y = across * x + rng.normal(0, 0.03), deep * y + rng.normal(0, 0.03)
    out.append(cone(x, y, 0, thick, thick, height, rgb) if round_leg
               else box(x, y, height / 2, (thick, thick, height / 2), rgb))
  return out


def table(rng):
  """A round or square top on three or four legs, often with a thing on it, not in its middle."""
  across, deep, height = rng.uniform(0.25, 0.5), rng.uniform(0.25, 0.5), rng.uniform(0.6, 1.15)
  inset, thick, top = rng.uniform(0.4, 0.8), rng.uniform(0.08, 0.105), rng.uniform(0.12, 0.16)
  first, second, third = colors(rng, 3)
  disc, count = rng.random() < 0.4, rng.integers(3, 5)
  deep = across if disc else deep
  legs = inset * (0.75 if disc and count == 4 else 1.0)
  out = [cone(0, 0, height - 0.02, across, across, top, first) if disc
         else box(0, 0, height - 0.02 + top / 2, (across, deep, top / 2), first)]
  out += _legs(rng, across * legs, deep * legs, height, thick, second, count)
  if rng.random() < 0.75:
    (x, y), s = rng.normal(0, 0.14, 2), rng.uniform(0.13, 0.3, 3)
    z = height + top - 0.05
    shape = rng.integers(3)
    out.append(ball(x, y, z + 0.9 * s[2], s, third) if shape == 0
               else box(x, y, z + s[2], s, third) if shape == 1
               else cone(x, y, z, s[0], 0.6 * s[1], 2 * s[2], third))
  return out


def chair(rng):
  """A seat on three or four legs with a leaning or upright back; its front is on +x."""
  across, deep, height = rng.uniform(0.25, 0.42), rng.uniform(0.25, 0.42), rng.uniform(0.45, 0.9)
  inset, thick = rng.uniform(0.4, 0.8), rng.uniform(0.08, 0.1)
  first, second, third = colors(rng, 3)
  out = [box(0, 0, height + 0.05, (across, deep, 0.08), first)]
  out += _legs(rng, across * inset, deep * inset, height, thick, second, rng.integers(3, 5))
  tall, back = rng.uniform(0.4, 0.9), rng.uniform(0.07, 0.09)
  step = rng.uniform(0.0, 0.1) * (rng.random() < 0.5)  # the back leans by one step
  for i in range(2):
    out.append(box(back - across - i * step, 0, height + 0.05 + tall * (0.28 + 0.47 * i),
                   (back, deep, 0.28 * tall), third))
  if rng.random() < 0.3:
    out += [box(0.15 * across, s * (deep - 0.06), height + 0.3, (0.75 * across, 0.08, 0.08), third)
            for s in (1, -1)]
    out += [box(0.75 * across, s * (deep - 0.06), height + 0.15, (0.08, 0.08, 0.15), third)
            for s in (1, -1)]
  return out


def stack(rng):
  """Three to five boxes, frusta and balls on top of each other, each a step aside."""
  out, z, middle = [], 0.0, np.zeros(2)
  paint = colors(rng, 5)
  for i in range(rng.integers(3, 6)):
    s = rng.uniform(0.16, 0.36, 3) * (1, 1, 0.75) * ((0.8, 0.8, 1) if i == 0 else 1)
    shape = ('cone', 'box', 'box', 'ball')[rng.integers(4 if i else 2)]
    out.append(cone(*middle, z, s[0], s[0] * rng.uniform(0.6, 1.2), 2 * s[2], paint[i])
               if shape == 'cone' else Solid(shape, (*middle, z + s[2]), tuple(s), paint[i]))
    z += 1.85 * s[2] - (0.06 if shape == 'ball' else 0)
    middle = middle + rng.normal(0, 0.09, 2)
  return out


def goblet(rng):
  """A cup on a stem and a foot, with up to two arms."""
  radius, stem, thick = rng.uniform(0.14, 0.34), rng.uniform(0.3, 0.9), rng.uniform(0.085, 0.12)
  first, second = colors(rng, 2)
  foot, cup = rng.uniform(0.12, 0.16), rng.uniform(0.2, 0.4)
  z = foot + stem
  out = [cone(0, 0, 0, radius, 0.8 * radius, foot, first),
         cone(0, 0, foot / 2, thick, thick, stem + foot, first)]
  if rng.random() < 0.5:
    out.append(cone(0, 0, z - 0.02, rng.uniform(0.13, 0.3), rng.uniform(0.25, 0.48), 2 * cup,
                    second))
  else:
    out.append(ball(0, 0, z + 0.8 * cup, (*rng.uniform(0.22, 0.42, 2), cup), second))
  for side in (1, -1)[:rng.integers(0, 3)]:
    axis = np.array([0.0, 1.0]) if rng.random() < 0.5 else np.array([1.0, 0.0])
    reach = side * rng.uniform(0.4, 0.6) * axis
    out.append(box(*(reach / 2), z + 1.2 * cup, (*(np.abs(reach) / 2 + 0.08), 0.08), first))
    if rng.random() < 0.6:
      out.append(ball(*reach, z + 1.2 * cup, (0.14, 0.14, 0.17), first))
  return out


def animal(rng):
  """A body on four legs, or on two with long feet, with a head, a beak and often a tail."""
  long, wide, tall = rng.uniform(0.35, 0.6), rng.uniform(0.2, 0.32), rng.uniform(0.2, 0.32)
  leg, thick = rng.uniform(0.3, 0.7), rng.uniform(0.08, 0.1)
  first, second, third = colors(rng, 3)
  z, middle, two = leg + 0.8 * tall, rng.normal(0, 0.1), rng.random() < 0.5
  out = [ball(0, 0, z, (long, wide, tall), first)]
  for x in [middle] if two else [middle - 0.5 * long, middle + 0.5 * long]:
    foot = rng.uniform(0.1, 0.2) if two else thick
    for side in (0.6 * wide, -0.6 * wide):
      out.append(cone(x, side, 0.02, thick, thick, leg + 0.06, second))
      out.append(box(x + 0.5 * foot, side, 0.07, (foot, thick, 0.07), third))
  head_x, head_z = long * rng.uniform(0.75, 1.05), z + tall * rng.uniform(0.4, 1.3)
  head = rng.uniform(0.15, 0.26)
  out += [ball(head_x, 0, head_z, (head, head, head), second),
          box(0.75 * head_x, 0, (head_z + z) / 2, (0.1, 0.1, abs(head_z - z) / 2 + 0.06), first),
          ball(head_x + head, 0, head_z, (0.13, 0.09, 0.08), third)]
  out += [ball(head_x + 0.8 * head, side, head_z + 0.4 * head, (0.05, 0.05, 0.06), DARK)
          for side in (0.5 * head, -0.5 * head)]
  if rng.random() < 0.7:
    out.append(ball(-long, 0, z + 0.1, (rng.uniform(0.15, 0.35), 0.11, 0.11), third))
  return out


def vase(rng):
  """A belly of two frusta on a small foot, with a neck, a lip and at times one handle."""
  foot, belly, neck = rng.uniform(0.11, 0.24), rng.uniform(0.28, 0.48), rng.uniform(0.1, 0.2)
  first, second = colors(rng, 2)
  lower, upper, tall = rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.5)
  out = [cone(0, 0, 0, foot, belly, lower, first),
         cone(0, 0, lower - 0.02, belly, neck, upper, first),
         cone(0, 0, lower + upper - 0.04, neck, neck, tall, second),
         cone(0, 0, lower + upper + tall - 0.1, neck, neck * rng.uniform(1.2, 2.0), 0.14, second)]
  if rng.random() < 0.5:
    y, middle = rng.choice((1.0, -1.0)), lower + upper
    reach = belly + rng.uniform(0.1, 0.25)
    out += [box(0, y * reach / 2, middle + 0.6 * tall, (0.08, reach / 2 + 0.05, 0.08), second),
            box(0, y * reach, middle - 0.2 * upper + 0.2 * tall,
                (0.08, 0.08, 0.2 * upper + 0.4 * tall + 0.08), second)]
    out.append(box(0, y * reach * 0.75, lower + 0.5 * upper, (0.08, 0.25 * reach + 0.08, 0.08),
                   second))
  return out


def tree(rng):
  """A trunk on spreading roots with a crown of balls or of frusta, which may lean over."""
  root, height, thick = rng.uniform(0.16, 0.36), rng.uniform(0.3, 0.7), rng.uniform(0.09, 0.14)
  trunk, first, second = (figurines.BROWN[:3], *colors(rng, 2))
  out = [cone(0, 0, 0, root, thick, rng.uniform(0.12, 0.2), trunk),
         cone(0, 0, 0, thick, 0.85 * thick, height + 0.1, trunk)]
  lean, z = rng.normal(0, 0.12, 2), height
  if rng.random() < 0.5:
    out.append(ball(*lean * 0.5, z + 0.22, tuple(rng.uniform(0.26, 0.44, 3)), first))
    for i in range(rng.integers(1, 4)):
      place = lean + rng.normal(0, 0.16, 2)
      out.append(ball(*place, z + rng.uniform(0.3, 0.6), tuple(rng.uniform(0.18, 0.3, 3)),
                      (first, second)[i % 2]))
  else:
    radius = rng.uniform(0.32, 0.5)
    for i in range(rng.integers(2, 4)):
      tall = rng.uniform(0.3, 0.45)
      out.append(cone(*(lean * 0.4 * i), z, radius, 0.4 * radius, tall, (first, second)[i % 2]))
      z, radius = z + 0.75 * tall, 0.78 * radius
  return out


def sign(rng):
  """A post on a foot with one or two boards, mostly off to a side."""
  radius, height, thick = rng.uniform(0.13, 0.3), rng.uniform(0.9, 1.3), rng.uniform(0.085, 0.11)
  first, second, third = colors(rng, 3)
  foot = rng.uniform(0.12, 0.2)
  out = [cone(0, 0, 0, radius, radius * rng.uniform(0.5, 1), foot, first) if rng.random() < 0.5
         else box(0, 0, foot / 2, (radius, radius * rng.uniform(0.7, 1.2), foot / 2), first),
         box(0, 0, height / 2, (thick, thick, height / 2), second)]
  z = height
  for i in range(rng.integers(1, 3)):
    wide, tall = rng.uniform(0.25, 0.45), rng.uniform(0.11, 0.22)
    aside = rng.normal(0, 0.16) if i == 0 else rng.choice((0.8, -0.8)) * wide
    out.append(box(0.03, aside, z - tall, (thick + 0.03, wide, tall), (third, first)[i]))
    z -= 2 * tall + rng.uniform(0.06, 0.16)
  return out


KINDS = {make.__name__: make for make in (figurine, lamp, table, chair, stack, goblet, animal, vase,
                                          tree, sign)}
