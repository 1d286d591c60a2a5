"""Files that a text names: patterns, folders, and files below the folder of another file."""

import fnmatch
import glob
import os
import pathlib
import re

from jax3dgen.core.errors import MeshError


def find(text, suffixes):
  """Sorted paths of the files that `text` names, each file once.

  `text` is a file, a folder (then the files below it with one of the `suffixes`, such as '.obj'),
  or a pattern with *, ?, [], ** and {a,b}. A text that names a file or folder exactly is no
  pattern. ** and folders leave out hidden files, and follow links into each folder once.
  """
  text = os.path.expanduser(text)
  if os.path.isdir(text):
    files = [p for p in _below(text) if os.path.splitext(p)[1].lower() in suffixes]
  elif os.path.exists(text):
    files = [text]
  else:
    files = [p for pattern in _braces(text) for p in _glob(pattern)]
  return once([pathlib.Path(path) for path in sorted(files)])


def once(paths):
  """The paths in their order without those of a file that another one names; links come second."""
  real = {}
  for path in paths:
    target = os.path.realpath(path)
    if target not in real or os.path.islink(real[target]) and not os.path.islink(path):
      real[target] = path
  return [path for path in dict.fromkeys(paths) if real[os.path.realpath(path)] == path]


def beside(folder, name):
  """The path of the file `name` in or below `folder`, for references in files that are not trusted.

  Raises MeshError where the name is empty or absolute, goes up by '..', leads outside by links, or
  is no file.
  """
  label = '"' + re.sub(r'[^\w /\\.,:%+-]', '?', name[:50]) + '"'
  outside = MeshError(f'the file refers to {label}; only files below its own folder are read.')
  if re.match(r'[/\\]|$', name) or '..' in re.split(r'[/\\]', name):
    raise outside
  folder = pathlib.Path(folder)
  try:
    if not (folder / name).resolve().is_relative_to(folder.resolve()):
      raise outside
    if not (folder / name).is_file():
      raise MeshError(f'the file refers to {label}, which is not there.')
  except (OSError, RuntimeError, ValueError) as error:  # loops of links, names that no file has
    raise MeshError(f'the file refers to {label}, which cannot be read.') from error
  return folder / name


def _braces(text):
  """The texts without braces of which `text` is short, innermost braces first."""
  match = re.search(r'\{([^{}]*,[^{}]*)\}', text)
  if not match:
    return [text]
  return [whole for option in match[1].split(',')
          for whole in _braces(text[:match.start()] + option + text[match.end():])]


def _glob(pattern):
  """The files of a pattern without braces."""
  parts = pattern.split('/')
  if '**' not in parts:
    return [path for path in glob.glob(pattern) if not os.path.isdir(path)]
  deep = parts.index('**')
  head = '/'.join([*parts[:deep], ''])  # ends in '/' unless it is empty
  return [path for root in (glob.glob(head) if head else ['']) for path in _below(root)
          if _matches(path[len(root):].split('/'), parts[deep:])]


def _matches(names, patterns):
  """Whether the parts of a path match those of a pattern with **."""
  if not patterns:
    return not names
  if patterns[0] == '**':
    return patterns == ['**'] or any(
        _matches(names[k:], patterns[1:]) for k in range(len(names)))
  return bool(names) and fnmatch.fnmatchcase(names[0], patterns[0]) and _matches(
      names[1:], patterns[1:])


def _below(root):
  """Paths of the files below a folder, each folder once; folders come before links to them."""
  visited, pending = set(), [root]
  for start in pending:  # which grows
    for folder, folders, names in os.walk(start or '.'):
      if os.path.realpath(folder) in visited:
        folders.clear()
        continue
      visited.add(os.path.realpath(folder))
      folders[:] = [name for name in folders if not name.startswith('.')]
      join = lambda name, folder=folder: os.path.join(folder, name)
      pending += sorted(join(name) for name in folders if os.path.islink(join(name)))
      yield from (join(name).removeprefix('' if start else './') for name in names
                  if not name.startswith('.'))
