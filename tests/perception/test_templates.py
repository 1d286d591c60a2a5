"""Pose templates from pictures, and the classifier that is made of them."""

import pathlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
from PIL import Image
import pytest
from safetensors import numpy as safetensors_numpy

from jax3dgen.core import camera as cameras
from jax3dgen.core import tree as trees
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurines, pose_pictures
from jax3dgen.distill import rectifier
from jax3dgen.formats import features
from jax3dgen.nn import vit
from jax3dgen.perception import templates
from tests import commands

CFG = SimpleNamespace(templates='', poses='', features='', control=False, temperature=0.02,
                      parts='both', form='matched')
FLOOR = 0.7  # of held-out bears told right; 0.86 was measured (docs/results/pose_classifier.md)


def write(folder, **pictures):
  """PNG files of the given names, underscores for hyphens."""
  for name, picture in pictures.items():
    Image.fromarray(np.uint8(255 * np.asarray(picture))).save(
        folder / f'{name.replace("_", "-")}.png')


def picture(seed=0, size=32, width=None):
  return np.random.default_rng(seed).random((size, width or size, 3))


@pytest.fixture(scope='module')
def bear():
  return templates.load('a red bear', CFG)


@pytest.fixture(scope='module')
def classify():
  """templates.classify, ten images at a time: compiled once."""
  ten = jax.jit(lambda classifier, images: templates.classify(classifier, images, None, CFG))

  def call(classifier, images):
    fill = np.concatenate([images, np.ones((-len(images) % 10, 32, 32, 3), np.float32)])
    return np.concatenate([ten(classifier, fill[i:i + 10])
                           for i in range(0, len(fill), 10)])[:len(images)]
  return call


def test_pictures_are_read_by_pose(tmp_path):
  write(tmp_path, right=picture(0), front=picture(1), front_2=picture(2, 64), back=picture(3, 16))
  names, pictures = templates.read(tmp_path)
  assert names == ('front', 'back', 'right')
  assert [len(x) for x in pictures] == [2, 1, 1] and pictures[0].shape[1:] == (32, 32, 3)
  np.testing.assert_allclose(pictures[2][0], picture(0), atol=1 / 255)


def test_what_is_transparent_is_white(tmp_path):
  clear = np.concatenate([picture(), np.zeros((32, 32, 1))], -1)
  write(tmp_path, front=clear, back=picture())
  np.testing.assert_allclose(templates.read(tmp_path)[1][0], 1.0)


@pytest.mark.parametrize('pictures, words', [
    ({}, 'holds no pose templates'),
    ({'front': picture()}, 'one pose alone'),
    ({'front': picture(), 'behind': picture()}, 'behind.png is not named by a pose'),
    ({'front': picture(), 'back': picture(width=40)}, '40 x 32'),
    ({'front': picture(), 'back': picture(size=15)}, '15 x 15'),
])
def test_folders_that_cannot_be_used(tmp_path, pictures, words):
  write(tmp_path, **pictures)
  with pytest.raises(ConfigError, match=words) as error:
    templates.read(tmp_path)
  assert '\n' not in str(error.value)


def test_a_damaged_picture_is_named(tmp_path):
  write(tmp_path, front=picture(), back=picture())
  whole = (tmp_path / 'back.png').read_bytes()
  for rest in (whole[:len(whole) // 2], b'', b'no picture'):
    (tmp_path / 'back.png').write_bytes(rest)
    with pytest.raises(ConfigError, match='back.png is not a complete PNG'):
      templates.read(tmp_path)


def test_prompts_choose_the_shipped_pictures(tmp_path):
  assert templates.folder_of('a Bunny with a hat', '') == templates.folder() / 'rabbit'
  assert templates.folder_of('a car', 'sketches') == templates.folder() / 'sketches' / 'car'
  assert templates.folder_of('a cat', str(tmp_path)) == tmp_path
  with pytest.raises(ConfigError, match='bear, car, penguin, rabbit, robot, rocket'):
    templates.folder_of('a red cat', '')
  with pytest.raises(ConfigError, match='more than one'):
    templates.folder_of('a bear in a car', '')
  with pytest.raises(ConfigError, match='nowhere'):
    templates.folder_of('a bear', str(tmp_path / 'nowhere'))


@pytest.fixture(scope='module')
def rendered_folder(tmp_path_factory):
  """The folder of pictures that the command writes, compiled as for a user."""
  folder = tmp_path_factory.mktemp('drawn')
  run = commands.run('pose_templates', '--package', '--workdir', folder)
  assert run.returncode == 0, run.stderr
  return folder


def assert_shipped(path, picture):
  """The shipped picture is this one [H, W, 3], up to rays that graze an edge: they go either way
  with the rounding of the processor."""
  difference = np.abs(np.asarray(Image.open(templates.folder() / path), np.float32) / 255 - picture)
  assert (difference > 1.01 / 255).mean() < 0.02 and difference.mean() < 2e-3, path


def test_the_shipped_pictures_of_bears_are_renders():
  """The other kinds and sets are compared by the slow test of the command."""
  for name, picture in zip(templates.POSES, pose_pictures.renders('bear'), strict=True):
    assert_shipped(f'bear/{name}.png', picture)


@pytest.mark.parametrize('kind', figurines.KINDS)
def test_all_poses_are_shipped(kind):
  for folder in (templates.folder(), *(templates.folder() / name for name in templates.OTHERS)):
    assert templates.read(folder / kind)[0] == templates.POSES


@pytest.mark.slow
@pytest.mark.parametrize('kind', figurines.KINDS)
def test_the_shipped_pictures_are_those_of_their_command(rendered_folder, kind):
  for folder in ('', *templates.OTHERS):
    for name in templates.POSES:
      path = pathlib.Path(folder, kind, f'{name}.png')
      assert_shipped(path, np.asarray(Image.open(rendered_folder / path), np.float32) / 255)


def test_poses_may_count_as_one_or_be_left_out(tmp_path):
  of = lambda poses: templates.groups(poses, templates.POSES, tmp_path)
  assert of('') == [['front'], ['left'], ['back'], ['right']]
  assert of('front left+right back') == [['front'], ['left', 'right'], ['back']]
  assert of('back front') == [['back'], ['front']]
  for poses, words in (('front above', "no template of 'above'"), ('front', 'two or more'),
                       ('front front', 'two or more')):
    with pytest.raises(ConfigError, match=words):
      of(poses)


def test_control_needs_a_picture_of_each_pose(tmp_path):
  write(tmp_path, front=picture(), left=picture(), back=picture())
  cfg = ConfigDict(rectifier.DEFAULTS | {'control': True, 'templates': str(tmp_path)})
  with pytest.raises(ConfigError, match='name them in config.distill.poses'):
    templates.load('a bear', cfg)


def test_a_template_is_itself(bear, classify):
  _, pictures = templates.read(templates.folder() / 'bear')
  p = classify(bear, np.concatenate(pictures))
  np.testing.assert_allclose(p.sum(-1), 1.0, rtol=1e-5)
  np.testing.assert_array_equal(p.argmax(-1), range(4))


def test_a_mirror_swaps_left_and_right(classify):
  """Where the right template is the mirrored left one, and front and back are symmetric."""
  _, (front, left, back, _) = templates.read(templates.folder() / 'car')
  mirror = lambda x: x[:, :, ::-1]
  both = lambda x: np.concatenate([x, mirror(x)])
  look, params = templates.load_extractor()
  bank = templates.build(jax.random.key(0), look, params,
                         [both(front), left, both(back), mirror(left)])
  cars = templates.Classifier(params, bank, look)
  car = figurines.Figurine(*(np.full(2, i, np.int32) for i in (3, 0, 0)))
  camera = jax.jit(cameras.orbit)(np.deg2rad([75.0, 110.0]), 0.2, 2.9, np.deg2rad(40.0))
  image = np.asarray(render(car, camera))
  p, q = classify(cars, image), classify(cars, image[:, :, ::-1])
  np.testing.assert_array_equal(p.argmax(-1), [1, 1])
  np.testing.assert_array_equal(q.argmax(-1), [3, 3])


render = jax.jit(lambda figurine, camera: figurines.render(figurine, camera, 32).rgb)


def views(count):
  """(bears seen from everywhere [count, 32, 32, 3], which pose they show [count])."""
  u = np.random.default_rng(5).random((4, count))
  bears = figurines.Figurine(kind=np.zeros(count, np.int32), color=np.int32(6 * u[0]),
                             hat=np.int32(1.3 * u[1]))
  camera = jax.jit(cameras.orbit)(2 * np.pi * u[2], np.deg2rad(-10 + 50 * u[3]), 2.9,
                                  np.deg2rad(40.0))
  return np.asarray(render(bears, camera)), np.int32(np.floor(4 * u[2] + 0.5)) % 4


def test_held_out_views_are_classified(bear, classify):
  images, side = views(200)
  assert (classify(bear, images).argmax(-1) == side).mean() > FLOOR
  noise = np.random.default_rng(0).normal(size=images.shape).astype(np.float32)
  noisy = np.clip(images + np.float32(0.05) * noise, 0, 1)
  assert (classify(bear, noisy).argmax(-1) == side).mean() > FLOOR


def test_the_gradient_raises_the_pose_it_is_of(bear):
  images, side = views(8)
  log_p = jax.jit(jax.value_and_grad(lambda x, k: jnp.log(
      templates.classify(bear, x, None, CFG)[jnp.arange(8), k] + 1e-9).sum()))
  other = (side + 2) % 4
  before, slope = log_p(images, other)
  assert np.isfinite(slope).all()
  slope = np.asarray(slope)
  step = np.float32(0.02) * slope / np.abs(slope).max((1, 2, 3), keepdims=True)
  assert log_p(images + step, other)[0] > before


def test_unknown_parts_and_forms_are_refused(bear):
  for name in ('parts', 'form'):
    cfg = SimpleNamespace(**{**vars(CFG), name: 'half'})
    with pytest.raises(ConfigError, match=f"{name}='half'"):
      jax.eval_shape(lambda x, cfg=cfg: templates.classify(bear, x, None, cfg),
                     jnp.ones((1, 32, 32, 3)))


def test_a_dinov2_classifies_poses(tmp_path, monkeypatch):
  """Its own size of pictures, and a map of patches that is resized; the weights are random."""
  small = vit.ViT(64, 1, 1, patch=14, grid=4, registers=4)
  params = trees.named(jax.eval_shape(small.init, jax.random.key(0), jnp.zeros((1, 56, 56, 3)))[
      'params'])
  rng = np.random.default_rng(0)
  random = lambda name: np.float32(0.1 * rng.normal(size=params[name].shape))
  names = {'patch_embed': 'patch_embed.proj', 'qkv': 'attn.qkv', 'proj': 'attn.proj',
           'fc1': 'mlp.fc1', 'fc2': 'mlp.fc2', 'ls1': 'ls1.gamma', 'ls2': 'ls2.gamma'}
  arrays = {}
  for path in params:
    parts = [names.get(part, part) for part in path.replace('block_', 'blocks/').split('/')]
    array = random(path)
    if parts[-1] == 'kernel':
      array = array.transpose(*range(array.ndim)[::-1][:2], *range(array.ndim - 2))
    parts[-1] = {'kernel': 'weight', 'scale': 'weight'}.get(parts[-1], parts[-1])
    arrays['.'.join(parts)] = np.ascontiguousarray(array)
  safetensors_numpy.save_file(arrays, tmp_path / 'dinov2.safetensors')
  monkeypatch.setattr(templates, 'SIDE', 32)  # 560 takes longer
  cfg = SimpleNamespace(**{**vars(CFG), 'features': str(tmp_path)})
  classifier = templates.load('a red bear', cfg)
  assert classifier.extract.apply.net == small.clone(remat=True)
  assert classifier.templates.patches.shape == (4, 16, 16, 64) and classifier.extract.size == 32
  images, _ = views(2)
  slope, p = jax.jit(jax.grad(lambda x: (lambda p: (p[0, 0] + p[1, 1], p))(
      templates.classify(classifier, x, None, cfg)), has_aux=True))(images)
  np.testing.assert_allclose(p.sum(-1), 1.0, rtol=1e-5)
  assert np.isfinite(slope).all() and np.abs(slope).max() > 0
  poses, pictures = templates.read(templates.folder() / 'bear', 84)
  assert pictures[0].shape == (1, 84, 84, 3)


def test_attention_selects_the_object_side_of_the_axis():
  """A ring about a bright middle: the border rule takes the middle, attention the ring."""
  ring = np.ones((4, 4), bool)
  ring[1:-1, 1:-1] = False
  big = np.repeat(np.repeat(ring, 8, 0), 8, 1)[..., None]
  pictures = [np.float32(np.where(big, dark, np.ones(3)))[None] for dark in (0.1, 0.3)]
  look = lambda _, images: features.Features(
      images.mean((1, 2)), images.reshape(-1, 4, 8, 4, 8, 3).mean((2, 4)))
  build = lambda attention: templates.build(jax.random.key(0), look, {}, pictures, copies=2,
                                            attention=attention).masks
  np.testing.assert_array_equal(build(None), [~ring, ~ring])
  shapes = []

  def attention(images):
    shapes.append(images.shape)
    return jnp.asarray(ring, jnp.float32)[None].repeat(len(images), 0).repeat(2, 1).repeat(2, 2)
  np.testing.assert_array_equal(build(attention), [ring, ring])
  assert shapes == [(1, 32, 32, 3)] * 2
