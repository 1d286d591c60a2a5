"""The structure of the code: layers, rooms, sizes and imports, read with `ast`.

`python -m tests.house` prints the table of rooms (files, lines, longest file) and the imports
between them; `tests/test_layers.py` asserts the rules.
"""

import ast
import collections
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent

# A folder of jax3dgen/ imports from folders with a smaller number only.
LAYERS = {
    'core': 0,
    'nn': 1, 'train': 1,
    'formats': 2,
    'prior': 3, 'generator': 3, 'scene': 3,
    'perception': 4, 'physics': 4,
    'distill': 5, 'feedback': 5,
    'data': 6, 'metrics': 6, 'export': 6,
    'recipes': 7,
}
ONLY = {'train': {'core'}}  # folders that import fewer than their layer allows
# Rooms of recipes/, and the rooms that each of them may import.
ROOMS = {
    'distill': set(),
    'multiview': {'distill', 'nets', 'preference'},
    'nets': set(),
    'compare': {'distill'},
    'evaluate': {'distill'},
    'particles': {'distill'},
    'preference': {'distill'},
    'refine': {'distill'},
    'stability': {'distill'},
    'toy': {'distill'},
    '': {'distill'},  # the single files of recipes/
}
MAX_FILE = {'jax3dgen': 320, 'experiments': 120}  # lines
MAX_ROOM, MAX_ROOMS = 2500, {'nn': 3500, 'recipes/nets': 2800}  # lines of a folder's own files


def sources(folder):
  """(path below the root, text) of every Python file of a folder."""
  for path in sorted((ROOT / folder).rglob('*.py')):
    yield path.relative_to(ROOT), path.read_text(encoding='utf-8')


def imports(text):
  """(module, line, whether at module level) of every import; `from a import b` gives a.b."""
  tree = ast.parse(text)
  inner = {id(n) for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef, ast.Lambda))
           for n in ast.walk(f)}
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      names = [f'{"." * node.level}{node.module or ""}.{alias.name}' for alias in node.names]
    else:
      continue
    for name in names:
      yield name, node.lineno, id(node) not in inner


def room(path):
  """The folder of jax3dgen/ that a file belongs to, 'recipes/NAME' for a room of recipes/."""
  parts = pathlib.PurePath(path).parts[1:-1]
  return '/'.join(parts[:2])


def room_of_module(name, modules):
  """`room` of the module that an imported name is, or lies in; None for those of other packages."""
  for candidate in (name, name.rpartition('.')[0]):
    if candidate in modules:
      return room(modules[candidate])
  return None


def forbidden(source, target):
  """Whether files of the room `source` must not import from the room `target`."""
  folder, other = source.split('/')[0], target.split('/')[0]
  if folder == other == 'recipes':
    source_room, target_room = (name.partition('/')[2] for name in (source, target))
    return source_room != target_room and target_room not in ROOMS.get(source_room, ())
  if folder == other:
    return False
  if folder in ONLY and other not in ONLY[folder]:
    return True
  return other not in LAYERS or LAYERS[other] >= LAYERS[folder]


def modules_of(files):
  """{module name: path} of [(path, text)]."""
  return {'.'.join(pathlib.PurePath(path).with_suffix('').parts): path for path, _ in files}


def edges(files):
  """{(room, imported room): number of imports} between different rooms of [(path, text)]."""
  modules, count = modules_of(files), collections.Counter()
  for path, text in files:
    for name, _, _ in imports(text):
      target = room_of_module(name, modules)
      if target is not None and target != room(path):
        count[room(path), target] += 1
  return count


def sizes(files):
  """{room: [(lines, path)]} of [(path, text)]."""
  rooms = collections.defaultdict(list)
  for path, text in files:
    rooms[room(path)].append((text.count('\n'), str(path)))
  return rooms


def main():
  files = [(path, text) for path, text in sources('jax3dgen')]
  count = edges(files)
  order = lambda name: (LAYERS.get(name.split('/')[0], -1), name)
  print(f'{"room":22} {"files":>5} {"lines":>6}  longest file')
  for name, members in sorted(sizes(files).items(), key=lambda item: order(item[0])):
    longest, path = max(members)
    print(f'{name or ".":22} {len(members):5} {sum(n for n, _ in members):6}  '
          f'{longest:4} {path}')
  print('\nimports between rooms')
  for name in sorted({source for source, _ in count}, key=order):
    targets = sorted((target for source, target in count if source == name), key=order)
    print(f'{name:22} ' + ', '.join(f'{target} {count[name, target]}' for target in targets))
  wrong = [pair for pair in count if forbidden(*pair)]
  print('\nforbidden imports: ' + (', '.join(f'{a} -> {b}' for a, b in wrong) or 'none'))


if __name__ == '__main__':
  main()
