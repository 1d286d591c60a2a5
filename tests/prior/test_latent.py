"""Stable Diffusion as a prior against diffusers' pipelines, from folders with random weights."""

import json
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jax3dgen.core import tree
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.prior import base, latent, sampler, schedule
from tests import published

KINDS = {'sd': (False, 'v_prediction'), 'sdxl': (True, 'epsilon')}


@pytest.fixture(scope='module')
def models(tmp_path_factory):
  """{kind: (folder, diffusers' pipeline)}."""
  root = tmp_path_factory.mktemp('models')
  return {kind: (root / kind, published.pipeline(root / kind, *settings))
          for kind, settings in KINDS.items()}


@pytest.mark.parametrize('kind', ['sd', pytest.param('sdxl', marks=pytest.mark.slow)])
def test_samples_are_those_of_the_pipeline(models, kind):
  """Words to picture: tokens, text encoders, guidance, U-Net, DDIM and the decoder at once."""
  folder, theirs = models[kind]
  prior, params, tokenize = latent.load(folder)
  steps, key = 4, jax.random.key(0)
  prior = prior._replace(schedule=prior.schedule._replace(safe_range=(0.001, 0.801)))

  @jax.jit
  def draw(params, rows):
    cond, null = (jax.tree.map(lambda leaf, i=i: leaf[i:i + 1], rows) for i in range(2))
    x0 = sampler.ddim(key, prior, params, cond, null, (1, 8, 8, 4), steps, 3.0)
    return prior.decode(params, x0)

  ours = draw(params, jax.jit(prior.embed)(params, tokenize(['a red bear', ''])))
  noise = jax.random.normal(jax.random.split(key)[0], (1, 8, 8, 4))
  expected = theirs('a red bear', height=16, width=16, num_inference_steps=steps + 1,
                    guidance_scale=3.0, latents=published.to_torch(noise), output_type='np').images
  assert ours.shape == (1, 16, 16, 3)
  assert ((0 < expected) & (expected < 1)).mean() > 0.3
  np.testing.assert_allclose(ours, expected, atol=2e-4)


def test_encodes_resized_images_as_the_autoencoder_does(models):
  folder, theirs = models['sd']
  prior, params, _ = latent.load(folder)
  image = np.random.default_rng(0).uniform(size=(2, 24, 40, 3)).astype(np.float32)
  with torch.no_grad():
    resized = torch.nn.functional.interpolate(published.to_torch(image), (16, 16), mode='bilinear',
                                              antialias=True)
    expected = 0.18215 * theirs.vae.encode(2 * resized - 1).latent_dist.mode()
  latents = jax.jit(prior.encode)(params, image)
  assert published.apart(latents, published.from_torch(expected)) < 2e-4
  wide, _, _ = latent.load(folder, size=24, tile=8)
  assert jax.eval_shape(wide.encode, params, image).shape == (2, 12, 12, 4)
  assert jax.eval_shape(wide.decode, params, jnp.zeros((2, 12, 12, 4))).shape == (2, 24, 24, 3)


class AttentionRecorder:
  """Attention to text that notes its weights, mean over the heads, in `mean_weights`."""

  def __init__(self):
    self.mean_weights = None

  def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
    mixed, weights = published.attention(attn, hidden_states, encoder_hidden_states)
    self.mean_weights = weights.mean(1)
    return mixed


def test_attention_is_that_to_the_words_below_the_finest_level(models):
  folder, theirs = models['sd']
  prior, params, tokenize = latent.load(folder)
  key = jax.random.key(0)
  image = np.random.default_rng(0).uniform(size=(2, 16, 16, 3)).astype(np.float32)
  ids = tokenize(['a red bear', 'bear'])
  attention, x0, cond = jax.jit(lambda params: (
      prior.attention(params, key, image, ids), prior.encode(params, image),
      prior.embed(params, ids)))(params)
  t = jnp.full(2, 0.01)
  x_t = base.add_noise(prior.schedule, x0, t, jax.random.normal(key, x0.shape))
  block = theirs.unet.mid_block.attentions[0].transformer_blocks[0].attn2
  before, recorder = block.processor, AttentionRecorder()
  block.set_processor(recorder)
  with torch.no_grad():
    theirs.unet(published.to_torch(x_t), torch.tensor(float(schedule.index(t, 1000)[0])),
                torch.from_numpy(np.array(cond.tokens)))
    maps = torch.stack([recorder.mean_weights[0, :, 1:4].mean(-1),
                        recorder.mean_weights[1, :, 1:2].mean(-1)])
    expected = torch.nn.functional.interpolate(maps.reshape(2, 1, 4, 4), (8, 8), mode='bilinear')
  block.set_processor(before)
  assert attention.shape == (2, 8, 8) and attention.std() > 1e-4
  np.testing.assert_allclose(attention, expected[:, 0], rtol=1e-4)


def test_half_precision_is_that_of_weights_and_nets_alone(models):
  prior, params, tokenize = latent.load(models['sd'][0], 'bfloat16', remat=True)
  assert {str(leaf.dtype) for leaf in jax.tree.leaves(params)} == {'bfloat16'}
  cond = jax.eval_shape(prior.embed, params, tokenize(['a bear']))
  x_t = jnp.zeros((1, 8, 8, 4))
  eps = jax.eval_shape(prior.predict, params, x_t, jnp.ones(1), cond)
  image = jax.eval_shape(prior.decode, params, x_t)
  assert eps.dtype == cond.tokens.dtype == image.dtype == jnp.float32
  assert prior.schedule.safe_range == (0.0, 0.999)


def copied(models, tmp_path, kind='sd'):
  return shutil.copytree(models[kind][0], tmp_path / 'copy')


def edit(path, **changes):
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize('name, changes, sentence', [
    ('model_index.json', {'_class_name': 'FluxPipeline'}, 'is a .FluxPipeline.; this prior reads'),
    ('unet/config.json', {'_class_name': 'Transformer2DModel'}, 'denoiser is a .Transformer2D'),
    ('unet/config.json', {'sample_size': None}, 'do not describe nets that fit'),
    ('vae/config.json', {'_class_name': 'VQModel'}, 'autoencoder is a .VQModel'),
    ('vae/config.json', {'shift_factor': 0.1}, 'shift_factor=0.1'),
    ('vae/config.json', {'use_something': 2}, 'use_something=2'),
    ('text_encoder/config.json', {'layer_norm_eps': 1e-6}, 'layer_norm_eps=1e-06'),
    ('vae/config.json', {'latent_channels': 'four'}, 'missing or invalid sizes'),
    ('vae/config.json', {'down_block_types': ['AttnDownEncoderBlock2D'] * 2}, 'AttnDownEncoder'),
    ('text_encoder/config.json', {'architectures': ['T5EncoderModel']}, 'encoder is a .T5Encoder'),
    ('text_encoder/config.json', {'hidden_act': 'relu'}, 'hidden_act=.relu'),
    ('text_encoder/config.json', {'hidden_size': 24}, 'weights of another network'),
    ('text_encoder/config.json', {'num_attention_heads': 3}, 'do not describe nets that fit'),
    ('scheduler/scheduler_config.json', {'prediction_type': 'flow'}, 'prediction_type=.flow'),
    ('scheduler/scheduler_config.json', {'beta_schedule': 'sigmoid'}, 'beta_schedule=.sigmoid'),
])
def test_every_wrong_config_has_its_own_message(models, tmp_path, name, changes, sentence):
  folder = copied(models, tmp_path)
  edit(folder / name, **changes)
  with pytest.raises(WeightError, match=sentence):
    latent.load(folder)


def test_missing_and_damaged_files_have_their_own_messages(models, tmp_path):
  folder = copied(models, tmp_path)
  (folder / 'scheduler' / 'scheduler_config.json').write_text('[1]')
  with pytest.raises(WeightError, match='not a complete JSON file'):
    latent.load(folder)
  (folder / 'scheduler' / 'scheduler_config.json').unlink()
  (folder / 'tokenizer' / 'tokenizer_config.json').unlink()
  with pytest.raises(WeightError, match='lacks scheduler/scheduler_config.json, '
                     'tokenizer/tokenizer_config.json; a prior is a folder'):
    latent.load(folder)
  with pytest.raises(WeightError, match='lacks model_index.json, .*, tokenizer/merges.txt, '):
    latent.read(tmp_path / 'empty')
  with pytest.raises(WeightError, match='not shipped'):
    latent.load(None)
  with pytest.raises(WeightError, match='unpack_checkpoint'):
    latent.load(folder / 'model_index.json')
  with pytest.raises(WeightError, match='no folder'):
    latent.load('no/such/folder')


@pytest.mark.parametrize('dtype', [jnp.bfloat16, 'bf16', jnp.dtype('bfloat16')])
def test_notations_of_a_dtype(models, dtype):
  prior = latent.make(latent.read(models['sd'][0]), dtype)
  leaves = jax.tree.leaves(jax.eval_shape(prior.init, jax.random.key(0)))
  assert {leaf.dtype for leaf in leaves} == {jnp.dtype('bfloat16')}


@pytest.mark.parametrize('options, sentence', [({'dtype': jnp.float16}, 'float16'),
                                               ({'dtype': 'int8'}, "'int8' is no floating dtype"),
                                               ({'size': 18}, 'a multiple of 4')])
def test_unsupported_settings_are_refused(models, options, sentence):
  with pytest.raises(ConfigError, match=sentence):
    latent.load(models['sd'][0], **options)


def test_folders_of_the_cache_and_of_the_home(models, tmp_path, monkeypatch):
  cache = tmp_path / 'models--some--model'
  copied(models, cache / 'snapshots')
  monkeypatch.setenv('HOME', str(tmp_path))
  assert latent.read(latent.locate('~/models--some--model')) == latent.read(models['sd'][0])
  with pytest.raises(WeightError, match='There is no folder .*/models--some--other'):
    latent.locate('~/models--some--other')


def test_hub_ids_are_fetched_once_and_refusals_are_one_sentence(models, monkeypatch, capsys):
  import huggingface_hub
  calls = []

  def fetch(name, **patterns):
    calls.append(name)
    if name == 'no/model':
      raise huggingface_hub.errors.LocalEntryNotFoundError('no network\nand more')
    return str(models['sd'][0])
  monkeypatch.setattr(huggingface_hub, 'snapshot_download', fetch)
  assert latent.locate('some/model') == models['sd'][0]
  assert 'hub' in capsys.readouterr().out
  with pytest.raises(WeightError, match=r'it cannot be downloaded \(no network\)'):
    latent.locate('no/model')
  assert calls == ['some/model', 'no/model']
  monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
  with pytest.raises(ConfigError, match='extra pretrained'):
    latent.locate('some/model')


VAE = {'_class_name': 'AutoencoderKL', 'block_out_channels': [128, 256, 512, 512],
       'layers_per_block': 2, 'latent_channels': 4, 'scaling_factor': 0.18215,
       'down_block_types': ['DownEncoderBlock2D'] * 4, 'up_block_types': ['UpDecoderBlock2D'] * 4}
CROSS, PLAIN = 'CrossAttn{}Block2D', '{}Block2D'


def unet_config(kinds, **changes):
  return {'_class_name': 'UNet2DConditionModel', 'block_out_channels': [320, 640, 1280, 1280],
          'layers_per_block': 2, 'in_channels': 4, 'out_channels': 4, 'sample_size': 64,
          'down_block_types': [kind.format('Down') for kind in kinds],
          'up_block_types': [kind.format('Up') for kind in kinds[::-1]]} | changes


def text_config(width, depth, act, kind='CLIPTextModel'):
  return {'architectures': [kind], 'hidden_size': width, 'intermediate_size': 4 * width,
          'num_hidden_layers': depth, 'num_attention_heads': width // 64, 'hidden_act': act,
          'vocab_size': 49408, 'max_position_embeddings': 77, 'projection_dim': 1280}


FULL = {  # the published configs, and the parameters of U-Net and of all nets together
    'sd21': ({'unet': unet_config([CROSS] * 3 + [PLAIN], cross_attention_dim=1024, sample_size=96,
                                  attention_head_dim=[5, 10, 20, 20], use_linear_projection=True),
              'text_encoder': text_config(1024, 23, 'gelu')},
             768, 865_910_724, 865_910_724 + 83_653_863 + 340_387_840),
    'sdxl': ({'unet': unet_config([PLAIN] + [CROSS] * 2, cross_attention_dim=2048, sample_size=128,
                                  block_out_channels=[320, 640, 1280],
                                  attention_head_dim=[5, 10, 20], use_linear_projection=True,
                                  transformer_layers_per_block=[1, 2, 10],
                                  addition_embed_type='text_time', addition_time_embed_dim=256,
                                  projection_class_embeddings_input_dim=2816),
              'text_encoder': text_config(768, 12, 'quick_gelu'),
              'text_encoder_2': text_config(1280, 32, 'gelu', 'CLIPTextModelWithProjection')},
             1024, 2_567_463_684, 2_567_463_684 + 83_653_863 + 123_060_480 + 694_659_840),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', FULL)
def test_full_size_without_weights(name):
  """Shapes alone: what the published configs describe has the published numbers of parameters."""
  configs, size, denoiser, whole = FULL[name]
  prior = latent.make({'index': {}, 'scheduler': published.LEVELS, 'vae': VAE} | configs)
  shapes = jax.eval_shape(prior.init, jax.random.key(0))
  assert tree.count(shapes['denoiser']) == denoiser and tree.count(shapes) == whole
  image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  x0 = jax.eval_shape(prior.encode, shapes, image)
  assert x0.shape == (1, size // 8, size // 8, 4)
  ids = jax.ShapeDtypeStruct((1, len(shapes['text']), 77), jnp.int32)
  cond = jax.eval_shape(prior.embed, shapes, ids)
  assert cond.tokens.shape == (1, 77, configs['unet']['cross_attention_dim'])
  assert (cond.extra is None) == (name != 'sdxl')
