"""Where a glTF 2 file places its meshes: scene, tree of nodes, skins, instances.

Matrices [4, 4] act on columns, float64. Animations are ignored: nodes are in their pose at rest.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from jax3dgen.core.errors import MeshError
from jax3dgen.export.gltf_data import array, get, item, many, numbers

MAX_INSTANCES = 10**5  # of a node
INSTANCING = {'TRANSLATION': ('VEC3', (0, 0, 0)), 'ROTATION': ('VEC4', (0, 0, 0, 1)),
              'SCALE': ('VEC3', (1, 1, 1))}


class Scene(NamedTuple):
  """nodes: all objects of the file; world [N, 4, 4]: their matrices into the scene; visible:
  indices of the nodes whose meshes the scene shows; notes: what is ignored."""
  nodes: list
  world: np.ndarray
  visible: list
  notes: list


def scene(header):
  """The Scene of a file: its `scene`, or the first one; without scenes all nodes or meshes."""
  nodes, scenes, notes = many(header, 'nodes', dict), many(header, 'scenes', dict), []
  if not scenes and not any('mesh' in node for node in nodes):
    nodes = [{'mesh': index} for index in range(len(get(header, 'meshes', list, [])))]
  children = [many(node, 'children', int) for node in nodes]
  parents = _parents(header, children)
  tops = [i for i, parent in enumerate(parents) if parent is None]
  order = _descendants(children, tops)
  if len(order) < len(nodes):
    raise MeshError('the nodes of the file form a cycle.')
  roots = tops
  if scenes:
    roots = many(item(header, 'scenes', get(header, 'scene', int, 0)), 'nodes', int)
    for root in roots:
      item(header, 'nodes', root)
    if not set(roots) <= set(tops) or len(set(roots)) < len(roots):
      raise MeshError('a node of the scene has a parent, or is there twice.')
  else:
    notes.append('the file has no scene: all its nodes or meshes are read')
  if len(scenes) > 1:
    notes.append('other scenes are ignored')
  held = [i for i in _descendants(children, roots) if 'mesh' in nodes[i]]
  hidden = set()
  for i in order:
    if parents[i] in hidden or not _visible(nodes[i]):
      hidden.add(i)
  visible = [i for i in held if i not in hidden]
  if len(visible) < len(held):
    notes.append('hidden meshes are ignored')
  used = {get(nodes[i], 'mesh', int) for i in held}
  if len(held) < sum('mesh' in node for node in nodes) or (
      len(used) < len(get(header, 'meshes', list, []))):
    notes.append('meshes outside the scene are ignored')
  if _has_animation(header, _movers(header, nodes, parents, visible)):
    notes.append('animations are ignored: the pose at rest is read')
  return Scene(nodes, _world(nodes, parents, order), visible, notes)


def placements(source, place, index):
  """[N, 4, 4] of the instances of a node's mesh; one identity for a mesh with a skin, which the
  transform of its own node does not move."""
  node = place.nodes[index]
  instancing = get(get(node, 'extensions', dict, {}), 'EXT_mesh_gpu_instancing', dict, None)
  if instancing is None:
    return np.eye(4)[None] if 'skin' in node else place.world[index][None]
  if 'skin' in node:
    raise MeshError(f'node {index} has both a skin and instances, which is not read.')
  return place.world[index] @ _instances(source, instancing)


def joints(source, place, index):
  """[J, 4, 4] of a skin: the matrices of its joints times the inverse bind matrices."""
  matrices = place.world[_joints(source.header, index)]
  bind = get(item(source.header, 'skins', index), 'inverseBindMatrices', int, None)
  if bind is None:
    return matrices
  inverse = array(source, bind, ('MAT4',), MAX_INSTANCES).reshape(-1, 4, 4).swapaxes(1, 2)
  if len(inverse) < len(matrices):
    raise MeshError(f'skin {index} has {len(matrices)} joints, but fewer inverse bind matrices.')
  return matrices @ inverse[:len(matrices)]


def _instances(source, instancing):
  """[N, 4, 4] of the attributes of EXT_mesh_gpu_instancing."""
  attributes = get(instancing, 'attributes', dict)
  counts = {get(item(source.header, 'accessors', get(attributes, key, int)), 'count', int)
            for key in attributes}
  if len(counts) != 1 or max(counts) > MAX_INSTANCES:
    raise MeshError('the attributes of instances have different counts, or too many elements.')
  (count,) = counts
  return _matrices(*[
      array(source, get(attributes, key, int), (kind,), MAX_INSTANCES) if key in attributes
      else np.broadcast_to(default, (count, len(default)))
      for key, (kind, default) in INSTANCING.items()])


def _matrices(translation, rotation, scale):
  """[N, 4, 4] = translation [N, 3] x rotation (quaternion x, y, z, w) [N, 4] x scale [N, 3]."""
  rotation = np.asarray(rotation, np.float64)
  if not (np.abs(rotation).max(-1) > 0).all():
    raise MeshError('a rotation of the file is 0, which is no quaternion.')
  matrices = np.tile(np.eye(4), (len(rotation), 1, 1))
  matrices[:, :3, :3] = Rotation.from_quat(rotation).as_matrix() * np.asarray(scale)[:, None]
  matrices[:, :3, 3] = translation
  return matrices


def _world(nodes, parents, order):
  """[N, 4, 4]: the matrix of each node into the scene; `order` has parents before children."""
  if not nodes:
    return np.zeros((0, 4, 4))
  stack = lambda key, default: np.array(
      [numbers(node, key, len(default), default) for node in nodes], np.float64)
  world = _matrices(*[stack(key.lower(), default) for key, (_, default) in INSTANCING.items()])
  for i in order:
    if 'matrix' in nodes[i]:
      world[i] = np.reshape(numbers(nodes[i], 'matrix', 16, None), (4, 4)).T
      if (world[i, 3] != (0, 0, 0, 1)).any() or nodes[i].keys() & {
          'translation', 'rotation', 'scale'}:
        raise MeshError(f'node {i} has a matrix that is not affine, or is not its only transform.')
    if parents[i] is not None:
      world[i] = world[parents[i]] @ world[i]
  return world


def _parents(header, children):
  """The parent of each node, or None."""
  parents = [None] * len(children)
  for i, below in enumerate(children):
    for child in below:
      item(header, 'nodes', child)
      if parents[child] is not None:
        raise MeshError(f'node {child} has two parents.')
      parents[child] = i
  return parents


def _descendants(children, roots):
  """The roots and all nodes below them, parents before children."""
  order, stack = [], roots[::-1]
  while stack:
    order.append(stack.pop())
    stack += children[order[-1]][::-1]
  return order


def _joints(header, index):
  """The nodes of a skin."""
  joints = many(item(header, 'skins', index), 'joints', int)
  for joint in joints:
    item(header, 'nodes', joint)
  if not joints:
    raise MeshError(f'skin {index} has no joints.')
  return joints


def _visible(node):
  extension = get(get(node, 'extensions', dict, {}), 'KHR_node_visibility', dict, {})
  return get(extension, 'visible', bool, True)


def _movers(header, nodes, parents, visible):
  """The nodes that move what is visible: those with its meshes, joints, and all above them."""
  skins = {get(nodes[i], 'skin', int) for i in visible if 'skin' in nodes[i]}
  movers = set()
  for i in [*visible, *(joint for k in skins for joint in _joints(header, k))]:
    while i is not None and i not in movers:
      movers.add(i)
      i = parents[i]
  return movers


def _has_animation(header, movers):
  """Whether an animation moves one of these nodes, or points at a node or a mesh."""
  for animation in many(header, 'animations', dict):
    for channel in many(animation, 'channels', dict):
      target = get(channel, 'target', dict)
      pointer = get(get(target, 'extensions', dict, {}), 'KHR_animation_pointer', dict, {})
      if get(target, 'node', int, None) in movers or get(pointer, 'pointer', str, '').startswith(
          ('/nodes/', '/meshes/')):
        return True
  return False
