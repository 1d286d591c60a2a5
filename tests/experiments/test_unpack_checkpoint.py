"""Single-file checkpoints become folders; the file is one made of a folder."""

from importlib import util
import pathlib
import re
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from experiments import _command, unpack_checkpoint
from jax3dgen.core import launch, tree
from jax3dgen.core.errors import WeightError
from jax3dgen.prior import latent
from tests import published

_RESNET = (('norm1', 'in_layers.0'), ('conv1', 'in_layers.2'), ('time_emb_proj', 'emb_layers.1'),
           ('norm2', 'out_layers.0'), ('conv2', 'out_layers.3'),
           ('conv_shortcut', 'skip_connection'))
UNET = (  # of the two levels that tests.published has
    (r'^time_embedding\.linear_1', 'time_embed.0'), (r'^time_embedding\.linear_2', 'time_embed.2'),
    (r'^conv_in', 'input_blocks.0.0'), (r'^conv_norm_out', 'out.0'), (r'^conv_out', 'out.2'),
    *((rf'resnets\.(\d)\.{ours}', rf'resnets.\1.{theirs}') for ours, theirs in _RESNET),
    (r'^down_blocks\.0\.resnets\.0', 'input_blocks.1.0'),
    (r'^down_blocks\.0\.attentions\.0', 'input_blocks.1.1'),
    (r'^down_blocks\.0\.downsamplers\.0\.conv', 'input_blocks.2.0.op'),
    (r'^down_blocks\.1\.resnets\.0', 'input_blocks.3.0'),
    (r'^mid_block\.resnets\.0', 'middle_block.0'), (r'^mid_block\.resnets\.1', 'middle_block.2'),
    (r'^mid_block\.attentions\.0', 'middle_block.1'),
    (r'^up_blocks\.0\.upsamplers\.0', 'output_blocks.1.1'),
    *((rf'^up_blocks\.{level}\.{kind}\.{i}', f'output_blocks.{2 * level + i}.{member}')
      for level in range(2) for i in range(2)
      for member, kind in enumerate(('resnets', 'attentions'))),
)
VAE = (
    (r'conv_norm_out', 'norm_out'), (r'conv_shortcut', 'nin_shortcut'),
    (r'mid_block\.resnets\.0', 'mid.block_1'), (r'mid_block\.resnets\.1', 'mid.block_2'),
    (r'mid_block\.attentions\.0\.group_norm', 'mid.attn_1.norm'),
    (r'mid_block\.attentions\.0\.to_out\.0', 'mid.attn_1.proj_out'),
    (r'mid_block\.attentions\.0\.to_(.)', r'mid.attn_1.\1'),
    (r'down_blocks\.(\d)\.resnets', r'down.\1.block'),
    (r'down_blocks\.(\d)\.downsamplers\.0', r'down.\1.downsample'),
    *((rf'up_blocks\.{i}\.{ours}', f'up.{1 - i}.{theirs}') for i in range(2)
      for ours, theirs in (('resnets', 'block'), (r'upsamplers\.0', 'upsample'))),
)
CLIP = ((r'^', 'text_model.'),)


def single_file(folder, path):
  """Writes the checkpoint of a folder in the original layout."""
  whole = {}
  for part, rules, prefix in (('unet', UNET, 'model.diffusion_model.'),
                              ('vae', VAE, 'first_stage_model.'),
                              ('text_encoder', CLIP, 'cond_stage_model.transformer.')):
    for name, tensor in load_file(next((folder / part).glob('*.safetensors'))).items():
      for pattern, to in rules:
        name = re.sub(pattern, to, name)
      if 'attn_1' in name and tensor.ndim == 2:  # a convolution over one pixel
        tensor = tensor[:, :, None, None]
      whole[prefix + name] = tensor
  save_file(whole, path)


@pytest.mark.slow
def test_a_single_file_becomes_the_folder_that_it_was_made_of(tmp_path):
  published.pipeline(tmp_path / 'model')
  single_file(tmp_path / 'model', tmp_path / 'model.safetensors')
  like = shutil.copytree(tmp_path / 'model', tmp_path / 'like',
                         ignore=shutil.ignore_patterns('*.safetensors'))
  unpack_checkpoint.unpack(tmp_path / 'model.safetensors', pathlib.Path(like), tmp_path / 'new')
  expected, result = (tree.named(latent.load(tmp_path / name)[1]) for name in ('model', 'new'))
  assert expected.keys() == result.keys()
  assert all(np.array_equal(expected[name], result[name]) for name in expected)
  with pytest.raises(WeightError, match='not empty'):
    unpack_checkpoint.unpack(tmp_path / 'model.safetensors', pathlib.Path(like), tmp_path / 'new')
  whole = load_file(tmp_path / 'model.safetensors')
  lost = ('model.diffusion_model.input_blocks.1.0.in_layers.2.weight',
          'first_stage_model.decoder.conv_in.bias')
  save_file({name: x for name, x in whole.items() if name not in lost},
            tmp_path / 'other.safetensors')
  with pytest.raises(WeightError) as caught:
    unpack_checkpoint.unpack(tmp_path / 'other.safetensors', pathlib.Path(like), tmp_path / 'more')
  lines = str(caught.value).splitlines()
  assert 'cannot be unpacked like' in lines[0] and 'lacks 2 tensors' in lines[0]
  assert sorted(map(str.split, lines[1:])) == [
      ['unet', 'down_blocks.0.resnets.0.conv1.weight'], ['vae', 'decoder.conv_in.bias']]
  assert not (tmp_path / 'more').exists()


def configs_alone(folder, index):
  """A folder with the files that a pipeline has beside its weights, all empty but the first."""
  names = [f'{part}/{file}' for part in ('tokenizer', 'tokenizer_2')
           for file in ('tokenizer.json', 'tokenizer_config.json')]
  for name in [*latent.CONFIGS.values(), *names]:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text('{}')
  (folder / 'model_index.json').write_text(f'{{"_class_name": "{index}"}}')
  return folder


@pytest.mark.parametrize('index, names, absent', [
    ('StableDiffusionPipeline', ['model.diffusion_model.x', 'cond_stage_model.x'],
     r'of vae \(first_stage_model\.\*\)\.'),
    ('StableDiffusionXLPipeline', ['first_stage_model.x', 'conditioner.embedders.1.x'],
     r'of unet \(model\.diffusion_model\.\*\), text_encoder \(cond_stage_model\.\* or .*0\.\*\)\.'),
    ('StableDiffusionXLPipeline', ['x'], 'of unet .*, vae .*, text_encoder .*, text_encoder_2 ')])
def test_all_parts_that_a_file_lacks_are_named(tmp_path, index, names, absent):
  save_file({name: np.zeros(1, np.float32) for name in names}, tmp_path / 'x.safetensors')
  like = configs_alone(tmp_path / 'like', index)
  with pytest.raises(WeightError, match='holds no tensors ' + absent):
    unpack_checkpoint.unpack(tmp_path / 'x.safetensors', like, tmp_path / 'new')
  (like / 'vae' / 'config.json').unlink()
  (like / 'tokenizer' / 'tokenizer_config.json').unlink()
  with pytest.raises(WeightError, match='lacks vae/config.json, tokenizer/tokenizer_config.json;'):
    unpack_checkpoint.unpack(tmp_path / 'x.safetensors', like, tmp_path / 'new')


def test_all_packages_that_are_missing_are_named(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(launch, 'reexecute', lambda: None)
  monkeypatch.setattr(util, 'find_spec', lambda name: None if name != 'transformers' else name)
  status = _command.call(unpack_checkpoint.run, unpack_checkpoint.__doc__, flags=
                         unpack_checkpoint.flags, argv=['x.safetensors', '--like', 'folder',
                                                        '--workdir', str(tmp_path)])
  assert status == 2 and 'unpacking needs diffusers, torch: pip' in capsys.readouterr().err


def test_what_is_no_checkpoint_is_refused_before_anything_starts(tmp_path):
  pickle = tmp_path / 'model.ckpt'
  pickle.write_bytes(b'PK')
  with pytest.raises(WeightError, match='pickle'):
    unpack_checkpoint.unpack(pickle, tmp_path, tmp_path / 'new')
  save_file({'x': np.zeros(1, np.float32)}, tmp_path / 'x.safetensors')
  with pytest.raises(WeightError, match='model_index.json'):
    unpack_checkpoint.unpack(tmp_path / 'x.safetensors', tmp_path, tmp_path / 'new')
