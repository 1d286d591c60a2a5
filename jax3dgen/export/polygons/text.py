"""Text of mesh files: encodings, lines, words and numbers.

Faults raise MeshError and name the first invalid text.
"""

import codecs
import io
import re

from jax3dgen.core.errors import MeshError

COUNTS = 'the file is truncated, or has not as many vertices, faces or corners as it claims.'
MAX_LINE = 2**20  # bytes of a line
UTF16 = codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE


def normal(data):
  """The bytes of a text file in UTF-8, without a byte order mark, with lines that end in LF.

  Zero bytes and Ctrl-Z at the end are padding of old systems.
  """
  if data.startswith(UTF16):
    data = data.decode('utf-16', errors='replace').encode()
  data = data.removeprefix(codecs.BOM_UTF8).rstrip(b'\0\x1a')
  if b'\0' in data:
    raise MeshError('the file has zero bytes among its text: it is binary or damaged.')
  return data.replace(b'\r\n', b'\n').replace(b'\r', b'\n')


def lines(text, comment=None):
  """Yields the words of each line of `text` that has any."""
  stream = io.BytesIO(text)
  while line := stream.readline(MAX_LINE):
    if len(line) == MAX_LINE:
      raise MeshError(f'the file has a line of {MAX_LINE} bytes or more.')
    if comment and comment in line:
      line = line.partition(comment)[0]
    if words := line.split():
      yield words


def numbers(words, kind=float):
  """The numbers [N] that words are; Python's underscores between digits are no part of any."""
  try:
    if b'_' in b''.join(words):
      raise ValueError
    return list(map(kind, words))
  except ValueError:
    raise invalid(words) from None


def invalid(words):
  """The MeshError of words that are no numbers, or fewer than there should be."""
  text = b' '.join(words)[:80].decode(errors='replace')
  comma = next((word for word in words if re.fullmatch(rb'[-+]?\d+,\d+(e[-+]?\d+)?', word)), None)
  if comma:
    return MeshError(f'the number {comma[:40].decode()!r} has a decimal comma instead of a point.')
  return MeshError(f'the file is truncated{f", or invalid at {text!r}" if text else ""}.')


def within(limit, *counts):
  """MeshError where a count is negative or exceeds the limit."""
  if min(counts) < 0 or max(counts) > limit:
    raise MeshError('the file claims more vertices or faces than are read, or fewer than none.')
