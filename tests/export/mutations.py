"""Mutations of mesh files: a table of formats, each with its neutral and its damaging kinds.

A kind is a function (surface, random) -> bytes. Neutral kinds write the same solid in another way;
damaging ones write a file that is wrong, or one whose reading must leave a note. To add a format,
add a `Format` to FORMATS: `write` serves all kinds of SURFACES and of FILES.
"""

import codecs
from collections.abc import Callable
import re
import struct
from typing import NamedTuple

import numpy as np


class Surface(NamedTuple):
  """vertices [V, 3]; polygons: tuples of their numbers, counter-clockwise from outside."""
  vertices: np.ndarray
  polygons: list


class Format(NamedTuple):
  """write: Surface -> bytes; neutral and damaging: {kind: (Surface, random) -> bytes}."""
  suffix: str
  write: Callable
  neutral: dict
  damaging: dict


def solid(random):
  """(Surface, volume) of a parallelepiped of 24 quads and 26 vertices, at a random place."""
  number, quads = {}, []
  corner = lambda *place: number.setdefault(place, len(number))
  for axis in range(3):
    for side in (0, 2):
      for i in range(2):
        for j in range(2):
          ring = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)][::1 if side else -1]
          quads.append(tuple(corner(*np.roll((side, a, b), axis).tolist()) for a, b in ring))
  shape = np.diag(random.uniform(0.5, 2, 3)) + random.uniform(-0.2, 0.2, (3, 3))
  places = np.array(list(number)) @ shape.T + random.uniform(-1, 1, 3)
  return Surface(places, quads), 8 * np.linalg.det(shape)


def triangles(polygons):
  return [(p[0], p[k], p[k + 1]) for p in polygons for k in range(1, len(p) - 1)]


# Other surfaces of the same solid, for all formats.


def shuffled(surface, random):
  order = random.permutation(len(surface.vertices))
  place = np.argsort(order)
  return Surface(surface.vertices[order],
                 [tuple(place[list(p)].tolist()) for p in surface.polygons])


def with_repeated_vertices(surface, random):
  ends = np.cumsum([len(p) for p in surface.polygons]).tolist()
  return Surface(np.concatenate([surface.vertices[list(p)] for p in surface.polygons]),
                 [tuple(range(end - len(p), end)) for p, end in zip(surface.polygons, ends)])


def with_spare_vertices(surface, random):
  count = int(random.integers(1, 5))
  return Surface(np.concatenate([random.normal(size=(count, 3)) * 100, surface.vertices]),
                 [tuple(k + count for k in p) for p in surface.polygons])


def in_another_order(surface, random):
  return surface._replace(polygons=[surface.polygons[k] for k in random.permutation(24)])


def rotated(surface, random):
  turn = lambda p: (lambda k: p[k:] + p[:k])(int(random.integers(len(p))))
  return surface._replace(polygons=[turn(p) for p in surface.polygons])


def turned(surface, random):
  return surface._replace(polygons=[p[::-1] for p in surface.polygons])


def with_repeated_faces(surface, random):
  more = [surface.polygons[k] for k in random.integers(24, size=3)]
  return surface._replace(polygons=surface.polygons + more)


def with_degenerate_faces(surface, random):
  more = [(*random.integers(26, size=1).tolist() * 2, int(k)) for k in random.integers(26, size=3)]
  return surface._replace(polygons=more + surface.polygons)


def as_triangles(surface, random):
  return surface._replace(polygons=triangles(surface.polygons))


SURFACES = {
    'vertices in another order': shuffled, 'vertices repeated': with_repeated_vertices,
    'vertices of no face': with_spare_vertices, 'faces in another order': in_another_order,
    'faces from another corner': rotated, 'all faces turned': turned,
    'faces repeated': with_repeated_faces, 'degenerate faces': with_degenerate_faces,
    'triangles for polygons': as_triangles}

# Other forms of a text, and of the numbers in it.
NUMBERS = {
    'exponents': '%.15e'.__mod__, 'capital exponents': '%.15E'.__mod__, 'signs': '%+.14f'.__mod__,
    'leading zeros': '%024.14f'.__mod__, 'many digits': '%.30f'.__mod__,
    'no zero before the point': lambda x: re.sub(r'^(-?)0\.', r'\1.', f'{x:.15f}')}
TEXTS = {
    'lines end in CR LF': lambda text, random: text.replace('\n', '\r\n').encode(),
    'lines end in CR': lambda text, random: text.replace('\n', '\r').encode(),
    'byte order mark': lambda text, random: codecs.BOM_UTF8 + text.encode(),
    'UTF-16': lambda text, random: text.encode('utf-16'),
    'UTF-16, big': lambda text, random: codecs.BOM_UTF16_BE + text.encode('utf-16-be'),
    'runs of blanks': lambda text, random: re.sub(
        ' ', lambda _: ' \t'[random.integers(2)] * int(random.integers(1, 4)), text).encode(),
    'blanks at the ends of lines': lambda text, random: text.replace('\n', ' \t\n').encode(),
    'no newline at the end': lambda text, random: text.rstrip('\n').encode(),
    'blank lines': lambda text, random: inserted(text, random, '\n').encode(),
    'zero bytes at the end': lambda text, random: text.encode() + bytes(random.integers(1, 99))}


def inserted(text, random, line, count=5, start=1):
  """`text` with a line inserted in `count` places behind its first `start` lines."""
  lines = text.splitlines(keepends=True)
  for place in sorted(random.integers(start, len(lines) + 1, size=count), reverse=True):
    lines.insert(place, line)
  return ''.join(lines)


def rows(items, before='', after='\n', number='%.17g'.__mod__):
  word = lambda x: number(x) if isinstance(x, float) else str(x)
  return ''.join(f'{before}{" ".join(map(word, item))}{after}' for item in items)


def of_text(write):
  """The neutral kinds of a text format, `write(surface, number)` -> str."""
  return {name: lambda s, random, form=form: form(write(s), random)
          for name, form in TEXTS.items()} | {
              f'numbers with {name}': lambda s, random, form=form: write(s, number=form).encode()
              for name, form in NUMBERS.items()}


def damaged(pattern, replacement, times=1):
  """text -> text with `times` random matches of `pattern` replaced; a function takes the match."""
  def change(text, random):
    matches = list(re.finditer(pattern, text))
    for k in sorted(random.permutation(len(matches))[:times], reverse=True):
      start, end = matches[k].span()
      new = replacement(matches[k]) if callable(replacement) else matches[k].expand(replacement)
      text = text[:start] + new + text[end:]
    return text
  return change


def of_changes(write, changes):
  return {name: lambda s, random, change=change: change(write(s), random).encode()
          for name, change in changes.items()}


# OBJ


def obj(surface, random=None, number='%.17g'.__mod__):
  return rows(surface.vertices.tolist(), 'v ', number=number) + rows(
      [[k + 1 for k in p] for p in surface.polygons], 'f ')


def obj_interleaved(surface, random):
  """Each face behind vertices of its own, counted from the end."""
  return ''.join(rows(surface.vertices[list(p)].tolist(), 'v ') + rows([range(-len(p), 0)], 'f ')
                 for p in surface.polygons).encode()


def obj_corners(form):
  return lambda s, random: (
      rows(s.vertices.tolist(), 'v ') + 'vt 0 0\nvn 0 0 1\n' + rows(
          [[form.format(k + 1) for k in p] for p in s.polygons], 'f ')).encode()


OBJ = of_text(obj) | {
    'comments': lambda s, random: inserted(obj(s), random, '# v 1 2 3 \\ f 1 2 3\n').encode(),
    'comments behind lines': lambda s, random: obj(s).replace('\n', ' # f 1 2 3\n').encode(),
    'names with keywords': lambda s, random: inserted(
        inserted(obj(s), random, 'o v 1 2 3\ng f 1 2 3\n'), random, 'usemtl v\ns off\n').encode(),
    'other elements': lambda s, random: (obj(s) + 'l 1 2\np 3\nmtllib f.mtl\ncstype bezier\n'
                                         ).encode(),
    'continued lines': lambda s, random: re.sub(
        ' ', lambda _: ' \\\n' if random.random() < 0.2 else ' ', obj(s)).encode(),
    'continued lines with CR LF': lambda s, random: obj(s).replace(' ', ' \\\r\n').encode(),
    'indices from the end': lambda s, random: (rows(s.vertices.tolist(), 'v ') + rows(
        [[k - len(s.vertices) for k in p] for p in s.polygons], 'f ')).encode(),
    'faces between vertices': obj_interleaved,
    'texture corners': obj_corners('{}/1'), 'normals': obj_corners('{}//1'),
    'texture corners and normals': obj_corners('{}/1/1'),
    'colours': lambda s, random: rows(s.vertices.tolist(), 'v ', ' .1 .2 1\n').encode()
               + rows([[k + 1 for k in p] for p in s.polygons], 'f ').encode(),
    'weights': lambda s, random: rows(s.vertices.tolist(), 'v ', ' 1\n').encode()
               + rows([[k + 1 for k in p] for p in s.polygons], 'f ').encode()}
COORDINATES = {  # damage of a number with a point, in a text
    'a number that is none': (r'\d+\.\d+', 'nan'), 'an infinite number': (r'\d+\.\d+', 'inf'),
    'a huge number': (r'\d+\.\d+', '1e300'), 'a letter in a number': (r'(\d+\.)\d', r'\1o'),
    'a decimal comma': (r'(\d+)\.(\d+)', r'\1,\2'), 'a zero byte': (r'(\d+\.)', '\\1\0')}
COORDINATES = {name: damaged(*change) for name, change in COORDINATES.items()}
OBJ_DAMAGE = of_changes(obj, COORDINATES | {
    'a coordinate missing': damaged(r'(?m)^(v \S+ \S+) \S+$', r'\1'),
    'a vertex missing': damaged(r'v .*\n', ''), 'a face missing': damaged('f .*\n', ''),
    'a face with a corner less': damaged(r'(f .*) \d+\n', r'\1\n'),
    'a face of two corners': damaged(r'(f \d+ \d+) .*', r'\1'),
    'an index out of range': damaged(r'f \d+', 'f 27'),
    'an index far out of range': damaged(r'f \d+', 'f 99999999999999999999'),
    'an index below the first': damaged(r'f \d+', 'f -27'), 'index 0': damaged(r'f \d+', 'f 0'),
    'an index with a point': damaged(r'(f \d+)', r'\1.5'),
    'an index that is a word': damaged(r'f \d+', 'f one'),
    'no mark of UTF-16': lambda text, random: text.encode('utf-16-le').decode('latin-1')})

# OFF


def off(surface, random=None, number='%.17g'.__mod__, head='OFF\n{} {} 0\n', points='\n',
        faces='\n', between=' '):
  counts = head.format(len(surface.vertices), len(surface.polygons))
  corners = rows([(len(p), *p) for p in surface.polygons], after=faces)
  return counts + rows(surface.vertices.tolist(), after=points, number=number
                       ).replace(' ', between) + corners.replace(' ', between)


OFF = of_text(off) | {name: lambda s, random, options=options: off(s, **options).encode()
                      for name, options in {
    'comments behind lines': {'points': ' # 1 2\n', 'faces': '# 3 1 2\n'},
    'counts behind the word': {'head': 'OFF {} {} 0\n'},
    'counts in lines': {'head': 'OFF\n{}\n{}\n0\n'}, 'no count of edges': {'head': 'OFF\n{} {}\n'},
    'words in lines of their own': {'between': '\n'},
    'colours of vertices': {'head': 'COFF\n{} {} 0\n', 'points': ' 9 8 7 255\n'},
    'colours of vertices without the letter': {'points': ' 9 8 7\n'},
    'normals': {'head': 'NOFF\n{} {} 0\n', 'points': ' 0 0 1\n'},
    'colours of faces': {'faces': ' 255 0 0\n'}, 'colours of faces, four': {'faces': ' 1 0 .5 1\n'},
    'colours over lines': {'head': 'COFF\n{} {} 0\n', 'points': '\n9 8 7 255 '}}.items()} | {
        'comments': lambda s, random: inserted(off(s), random, '# 3 1 2 3\n').encode(),
        'a comment first': lambda s, random: b'# OFF 1 2 3\n' + off(s).encode()}
OFF_DAMAGE = of_changes(off, COORDINATES | {
    'more vertices than there are': damaged('26 24', '27 24'),
    'fewer vertices than there are': damaged('26 24', '25 24'),
    'more faces than there are': damaged('26 24', '26 25'),
    'fewer faces than there are': damaged('26 24', '26 23'),
    'a negative count': damaged('26 24', '26 -1'),
    'a huge count': damaged('26 24', '2600000000 24'),
    'no counts': damaged('26 24 0\n', ''), 'another word': damaged('OFF', 'ON'),
    'four dimensions': damaged('OFF', '4OFF'), 'binary': damaged('OFF', 'OFF BINARY'),
    'a coordinate missing': damaged(r'(?m)^(\S+\.\S+ \S+\.\S+) \S+$', r'\1'),
    'a line missing': damaged('(?m)^.*\n', ''), 'a face of more corners': damaged(r'\n4 ', '\n5 '),
    'an index out of range': damaged(r'\n4 \d+', '\n4 26'),
    'a negative index': damaged(r'\n4 \d+', '\n4 -1'),
    'an index with a point': damaged(r'(\n4 \d+)', r'\1.5'),
    'no mark of UTF-16': lambda text, random: text.encode('utf-16-le').decode('latin-1')})

# PLY

CODES = {'uchar': 'B', 'uint8': 'B', 'short': 'h', 'ushort': 'H', 'int': 'i', 'int32': 'i',
         'uint': 'I', 'float': 'f', 'double': 'd', 'float64': 'd'}
LITTLE, BIG, ASCII = 'binary_little_endian', 'binary_big_endian', 'ascii'


def elements(surface, real='double', size='uchar', index='int', name='vertex_indices'):
  """[(name, [(property, type of a list's size or None, type)], [row])] of a PLY file."""
  return [('vertex', [(axis, None, real) for axis in 'xyz'], surface.vertices.tolist()),
          ('face', [(name, size, index)], [[p] for p in surface.polygons])]


def ply(table, form, number='%.17g'.__mod__, comments=''):
  """Elements as the bytes of a PLY file."""
  head, body = f'ply\nformat {form} 1.0\n{comments}', b''
  for name, properties, items in table:
    head += f'element {name} {len(items)}\n' + ''.join(
        f'property list {size} {kind} {label}\n' if size else f'property {kind} {label}\n'
        for label, size, kind in properties)
    for row in items:
      flat = [(x, kind) for value, (_, size, kind) in zip(row, properties) for x, kind in (
          [(len(value), size), *((x, kind) for x in value)] if size else [(value, kind)])]
      if form == ASCII:
        body += rows([[x for x, _ in flat]], number=number).encode()
      else:
        body += b''.join(struct.pack('<>'[form == BIG] + CODES[kind], x) for x, kind in flat)
  return head.encode() + b'end_header\n' + body


def with_properties(table, random):
  """Further numbers and lists in random places of the vertices and faces."""
  changed = []
  for name, properties, items in table:
    for label, size in (('quality', None), ('marks', 'uchar')):
      place = int(random.integers(len(properties) + 1))
      value = lambda size=size: (
          tuple(random.integers(9, size=random.integers(4)).tolist()) if size else
          int(random.integers(9)))
      properties = [*properties[:place], (label, size, 'short'), *properties[place:]]
      items = [[*row[:place], value(), *row[place:]] for row in items]
    changed.append((name, properties, items))
  return changed


def with_colours(table, random):
  (name, properties, items), *rest = table
  colours = [(label, None, 'uchar') for label in ('red', 'green', 'blue', 'alpha')]
  return [(name, properties + colours, [[*row, 9, 8, 7, 6] for row in items]), *rest]


def axes_turned(table, random):
  (name, properties, items), *rest = table
  order = random.permutation(3)
  return [(name, [properties[k] for k in order], [[row[k] for k in order] for row in items]), *rest]


def with_elements(table, random):
  edges = ('edge', [('vertex1', None, 'int'), ('vertex2', None, 'int')], [[0, 1], [2, 3]])
  return [edges, table[0], ('list', [('a', 'uchar', 'float')], [[(1.5,)], [()]]), table[1]]


def as_strips(table, random):
  """Each quad a strip, several in a row."""
  strips = [(a, b, d, c, -1) for (a, b, c, d), in table[1][2]]
  halves = [sum(strips[:10], ()), sum(strips[10:], ())]
  return [table[0], ('tristrips', [('vertex_indices', 'int', 'int')], [[half] for half in halves])]


def of_ply(form):
  """The Format of PLY files of one form."""
  write = lambda s, number='%.17g'.__mod__: ply(elements(s), form, number)
  changed = lambda change: lambda s, random: ply(change(elements(s), random), form)
  typed = lambda **options: lambda s, random: ply(elements(s, **options), form)
  said = lambda words: lambda s, random: ply(elements(s), form, comments=words)
  neutral = {
      'properties in another order': changed(axes_turned), 'colours': changed(with_colours),
      'further properties': changed(with_properties), 'further elements': changed(with_elements),
      'faces before vertices': changed(lambda table, random: table[::-1]),
      'triangle strips': changed(as_strips), 'vertex_index': typed(name='vertex_index'),
      'sizes as int': typed(size='int'), 'corners as ushort': typed(index='ushort'),
      'corners as uchar': typed(index='uchar'), 'other names of types': typed(
          real='float64', size='uint8', index='int32'),
      'comments with keywords': said('comment element vertex 3\nobj_info property float x\n'),
      'comments in UTF-8': said('comment \u00e4 \u65e5 \n'),
      'a comment with end_header': said('comment end_header is below\n'),
      'blanks in the header': lambda s, random: re.sub(
          rb'(property|element|end_header)', rb' \1 ', write(s), count=6)}
  heads = {
      'another magic': (b'^ply', b'plx'), 'another format': (b'format [a-z_]+', b'format text'),
      'no format': (rb'format \S+ 1.0\n', b''), 'no end of the header': (b'end_header\n', b''),
      'no element': (b'element vertex 26\n', b''), 'no x': (b'property double x\n', b''),
      'a type that is none': (b'double z', b'real z'), 'two x': (b'double y', b'double x'),
      'a negative count': (b'vertex 26', b'vertex -1'),
      'a huge count': (b'face 24', b'face 2400000000'),
      'a word as count': (b'face 24', b'face all'),
      'more vertices than there are': (b'vertex 26', b'vertex 27'),
      'fewer vertices than there are': (b'vertex 26', b'vertex 25'),
      'more faces than there are': (b'face 24', b'face 25'),
      'fewer faces than there are': (b'face 24', b'face 23'),
      'corners without a list': (b'property list uchar int', b'property int'),
      'another word in the header': (b'property double y', b'properties double y')}
  damaging = {name: lambda s, random, change=change: re.sub(*change, write(s), count=1)
              for name, change in heads.items()}
  faces = {'an index out of range': 26, 'a negative index': -1, 'a huge index': 2**31 - 1}
  damaging |= {name: lambda s, random, k=k: write(s._replace(polygons=[
      *s.polygons[:-1], (*s.polygons[-1][:3], k)])) for name, k in faces.items()}
  places = {'a number that is none': np.nan, 'an infinite number': np.inf, 'a huge number': 1e300}
  damaging |= {name: lambda s, random, x=x: write(s._replace(vertices=np.where(
      np.arange(78).reshape(26, 3) == random.integers(78), x, s.vertices)))
               for name, x in places.items()}
  damaging['a face missing'] = lambda s, random: write(s._replace(polygons=s.polygons[1:]))
  if form == ASCII:
    text = lambda s, **options: write(s, **options).decode()
    neutral |= of_text(text)
    damaging |= of_changes(text, {name: COORDINATES[name] for name in (
        'a letter in a number', 'a decimal comma', 'a zero byte')} | {
            'a line missing': damaged(r'(?m)(?<=\n)\d.*\n', ''),
            'a line repeated': damaged(r'(?m)(?<=\n)(\d.*\n)', r'\1\1'),
            'a number more': damaged(r'(?m)(?<=\n)(-?\d.*)\n', r'\1 1\n'),
            'a number less': damaged(r'(?m)(?<=\n)(-?\d.*) \S+\n', r'\1\n')})
  else:
    other = {LITTLE: BIG, BIG: LITTLE}[form]
    neutral |= {
        'header ends its lines in CR': lambda s, random: crossed(write(s), b'\r'),
        'header ends its lines in CR LF': lambda s, random: crossed(write(s), b'\r\n'),
        'byte order mark': lambda s, random: codecs.BOM_UTF8 + write(s),
        'floats': typed(real='float'),
        'a byte at the end': lambda s, random: write(s) + b'\7',
        'bytes at the end': lambda s, random: write(s) + random.bytes(16),
        'zero bytes at the end': lambda s, random: write(s) + bytes(random.integers(1, 999))}
    damaging |= {
        'the other order of bytes': lambda s, random: write(s).replace(
            form.encode(), other.encode()),
        'bytes as text': lambda s, random: write(s).replace(form.encode(), b'ascii'),
        'bytes missing': lambda s, random: without(write(s), random, b'end_header\n'),
        'bytes between': lambda s, random: between(write(s), random, b'end_header\n')}
  return Format('ply', write, neutral, damaging)


def crossed(data, line_end):
  head, end, body = data.partition(b'end_header\n')
  return (head + end).replace(b'\n', line_end) + body


def without(data, random, mark=b''):
  """Data without up to 9 bytes somewhere behind `mark`."""
  start = int(random.integers(data.index(mark) + len(mark), len(data) - 9))
  return data[:start] + data[start + int(random.integers(1, 10)):]


def between(data, random, mark=b''):
  """Data with up to 9 bytes more somewhere behind `mark`."""
  start = int(random.integers(data.index(mark) + len(mark), len(data)))
  return data[:start] + bytes([255] * int(random.integers(1, 10))) + data[start:]


# STL


def stl(surface, random=None, number='%.17g'.__mod__, name='it', normal='0 0 0'):
  facets = ''.join(f'facet normal {normal}\nouter loop\n' + rows(
      surface.vertices[list(t)].tolist(), 'vertex ', number=number) + 'endloop\nendfacet\n'
                   for t in triangles(surface.polygons))
  return f'solid {name}\n{facets}endsolid {name}\n'


NAMES = {'keywords': 'a vertex 1 2 3 of a facet', 'the end': 'endsolid endfacet endloop',
         'nothing': '', 'accents': '\u00e4 \u65e5', 'a loop': 'outer loop', 'numbers': '1 2 3'}
STL_TEXT = of_text(stl) | {
    f'a name with {name}': lambda s, random, words=words: stl(s, name=words).encode()
    for name, words in NAMES.items()} | {
        'capitals': lambda s, random: stl(s).upper().encode(),
        'one line': lambda s, random: stl(s, name='').replace('\n', ' ').encode(),
        'normals that are none': lambda s, random: stl(s, normal='nan nan nan').encode(),
        'several solids': lambda s, random: inserted_solid(stl(s), random).encode(),
        'a comment first': lambda s, random: b'; facet by facet\n' + stl(s).encode()}


def inserted_solid(text, random):
  return damaged('endfacet\n', 'endfacet\nendsolid it\n\nsolid facet\n', 3)(text, random)


STL_TEXT_DAMAGE = of_changes(stl, {
    name: (lambda text, random, change=change: 'solid it\n' + change(
        text.removeprefix('solid it\n'), random)) for name, change in COORDINATES.items()} | {
    'a corner missing': damaged('vertex .*\n', ''),
    'a corner more': damaged('(vertex .*\n)', r'\1\1'),
    'a coordinate missing': damaged(r'(vertex \S+ \S+) .*', r'\1'),
    'a facet without an end': damaged('endfacet\n', ''),
    'a loop without an end': damaged('endloop\n', ''), 'a loop without a start': damaged(
        'outer loop\n', ''), 'a facet missing': damaged(r'facet normal(?:.*\n){6}endfacet\n', ''),
    'no end': damaged('endsolid it\n', ''), 'another word': damaged('vertex', 'vertices'),
    'no mark of UTF-16': lambda text, random: text.encode('utf-16-le').decode('latin-1')})


def stl_binary(surface, random=None, head=b'', count=None):
  table = np.zeros(2 * len(surface.polygons), [('n', '<f4', 3), ('c', '<f4', (3, 3)), ('a', '<u2')])
  faces = triangles(surface.polygons)
  table = table[:1].repeat(len(faces))
  table['c'] = surface.vertices[np.array(faces)]
  if random:
    table['n'] = random.normal(size=(len(faces), 3))
    table['a'] = random.integers(2**16, size=len(faces))
  return head.ljust(80)[:80] + struct.pack('<I', len(faces) if count is None else count) + (
      table.tobytes())


STL_BINARY = {
    'normals and attributes': stl_binary,
    'a header as of text': lambda s, random: stl_binary(s, head=b'solid it\nfacet normal 0 0 0\n'),
    'a header of bytes': lambda s, random: stl_binary(s, head=random.bytes(80)),
    'a header with a colour': lambda s, random: stl_binary(s, head=b'COLOR=\1\2\3\xff'),
    'bytes at the end': lambda s, random: stl_binary(s) + random.bytes(16),
    'zero bytes at the end': lambda s, random: stl_binary(s) + bytes(random.integers(1, 999))}
STL_BINARY_DAMAGE = {
    f'a count of {name}': lambda s, random, k=k: stl_binary(s, count=k) for name, k in {
        'none': 0, 'one': 1, 'one less': 47, 'one more': 49, 'very many': 2**32 - 1,
        'the wrong order': int.from_bytes(b'\x30\0\0\0', 'big')}.items()} | {
    'a number that is none': lambda s, random: stl_binary(s._replace(
        vertices=s.vertices + np.where(np.arange(26) == random.integers(26), np.nan, 0)[:, None])),
    'an infinite number': lambda s, random: stl_binary(s._replace(
        vertices=s.vertices + np.where(np.arange(26) == random.integers(26), np.inf, 0)[:, None])),
    'a face missing': lambda s, random: stl_binary(s._replace(polygons=s.polygons[1:])),
    'bytes missing': lambda s, random: without(stl_binary(s), random),
    'bytes between': lambda s, random: between(stl_binary(s), random)}

# All formats, and files that are no mesh of theirs.


def files(write):
  """Damaging kinds of any format."""
  def cut(low, high):
    return lambda s, random: (lambda data: data[:int(random.uniform(low, high) * len(data))])(
        write(s))
  return {
      'cut early': cut(0, 0.1), 'cut': cut(0, 1), 'cut late': cut(0.9, 1),
      'cut near the end': lambda s, random: write(s)[:-int(random.integers(1, 30))],
      'nothing': lambda s, random: b'', 'zeros': lambda s, random: bytes(random.integers(1, 9999)),
      'noise': lambda s, random: random.bytes(int(random.integers(1, 9999))),
      'text': lambda s, random: b'Dear all,\n\nthis is no mesh.\n',
      'a Git LFS pointer': lambda s, random: b'version https://git-lfs.github.com/spec/v1\n',
      'an HTML page': lambda s, random: b'<!doctype html>\n<html><body>403</body></html>\n',
      'an archive': lambda s, random: b'PK\3\4' + random.bytes(200),
      'zeros within': lambda s, random: (lambda data, k: data[:k] + bytes(len(data) - k))(
          write(s), int(random.integers(1, 200)))}


def with_common(suffix, write, neutral, damaging):
  """The Format with the kinds that all have."""
  shared = {name: lambda s, random, change=change: write(change(s, random))
            for name, change in SURFACES.items()}
  return Format(suffix, write, shared | neutral, files(write) | damaging)


def encoded(write):
  return lambda surface: write(surface).encode()


FORMATS = {
    'OBJ': with_common('obj', encoded(obj), OBJ, OBJ_DAMAGE),
    'OFF': with_common('off', encoded(off), OFF, OFF_DAMAGE),
    'PLY text': with_common(*of_ply(ASCII)), 'PLY little': with_common(*of_ply(LITTLE)),
    'PLY big': with_common(*of_ply(BIG)),
    'STL text': with_common('stl', encoded(stl), STL_TEXT, STL_TEXT_DAMAGE),
    'STL binary': with_common('stl', stl_binary, STL_BINARY, STL_BINARY_DAMAGE)}
