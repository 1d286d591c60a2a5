"""CLIP from a folder as transformers writes it, against transformers, from pixels and words on."""

import json
import os

import jax
import numpy as np
import pytest
import torch
import transformers

from jax3dgen.core.errors import WeightError
from jax3dgen.perception import clip, text_image
from tests import published

TEXTS = ['a red bear', 'a bear from above, side view', '']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  os.environ.setdefault('HF_HUB_OFFLINE', '1')
  folder = tmp_path_factory.mktemp('weights') / 'tiny-clip'
  count = published.tokenizer(folder)
  sizes = {'num_hidden_layers': 2, 'num_attention_heads': 3, 'intermediate_size': 40}
  model = published.randomise(transformers.CLIPModel(transformers.CLIPConfig(
      text_config={**sizes, 'hidden_size': 24, 'vocab_size': count, 'bos_token_id': count - 2,
                   'eos_token_id': count - 1},
      vision_config={**sizes, 'hidden_size': 36, 'image_size': 28, 'patch_size': 7,
                     'hidden_act': 'gelu'}, projection_dim=16)), 0.1)
  model.save_pretrained(folder)
  return folder


@pytest.fixture(scope='module')
def model(folder):
  return clip.load(folder)


def test_images_and_texts_are_those_of_transformers(model, folder):
  theirs = transformers.CLIPModel.from_pretrained(folder).eval()
  read = transformers.CLIPTokenizer.from_pretrained(str(folder))
  image = np.random.default_rng(0).integers(80, 180, (2, 40, 56, 3), np.uint8)
  processor = transformers.CLIPImageProcessorPil(size={'shortest_edge': 28},
                                                 crop_size={'height': 28, 'width': 28})
  pixels = torch.from_numpy(np.stack(processor(list(image))['pixel_values']))
  with torch.no_grad():
    out = theirs(input_ids=torch.tensor(read(TEXTS, padding='max_length', max_length=77).input_ids),
                 pixel_values=pixels)
  images, texts = model.images(image / 255), model.texts(TEXTS)
  assert published.apart(clip.preprocess(image / np.float32(255), 28),
                         pixels.permute(0, 2, 3, 1)) < 2e-2  # Pillow rounds to 8 bits, twice
  assert published.apart(texts, out.text_embeds) < 2e-4
  assert published.apart(images, out.image_embeds) < 1e-2
  assert model.scale == pytest.approx(theirs.logit_scale.exp().item(), rel=1e-5)
  assert model.name == 'CLIP tiny-clip'


def test_a_gradient_reaches_the_pixels(model):
  texts = model.texts(TEXTS)[:1]
  image = np.random.default_rng(0).random((1, 40, 56, 3), np.float32)
  slope = jax.grad(lambda x: (model.images(x) @ texts.T).sum())(image)
  assert np.isfinite(slope).all() and np.abs(slope).max() > 0


def test_the_kind_of_model_is_found_by_its_config(folder):
  assert clip.find(str(folder)).name == 'CLIP tiny-clip'
  assert clip.find('').name == clip.find(text_image.shipped()).name == text_image.NAME


@pytest.mark.parametrize('change, words', [
    ({'model_type': 'siglip'}, "kind 'siglip'"),
    ({'vision_config': {'hidden_act': 'tanh'}}, 'tanh'),
    ({'vision_config': {'patch_size': 0}}, 'does not describe'),
    ({'text_config': None}, 'does not describe'),
    ({'text_config': {'num_attention_heads': 0}}, 'impossible sizes'),
    ({'projection_dim': 17}, 'another network')])
def test_what_is_no_clip_is_refused(folder, tmp_path, change, words):
  config = json.loads((folder / 'config.json').read_text())
  for name in os.listdir(folder):
    (tmp_path / name).write_bytes((folder / name).read_bytes())
  for name, value in change.items():
    config[name] = config[name] | value if isinstance(value, dict) else value
  (tmp_path / 'config.json').write_text(json.dumps(config))
  with pytest.raises(WeightError, match=words):
    clip.load(tmp_path)


def test_a_folder_without_a_config_is_refused(tmp_path):
  with pytest.raises(WeightError, match='Cannot read .*config.json: No such file'):
    clip.find(tmp_path)
  (tmp_path / 'config.json').write_text('{')
  with pytest.raises(WeightError, match='damaged'):
    clip.find(tmp_path)
