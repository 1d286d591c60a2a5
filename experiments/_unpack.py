"""The isolated process of unpack_checkpoint: reads a single-file checkpoint, writes a folder.

Runs as a file, without this package on the path: _unpack.py FILE TARGET CONFIG. Where the file
lacks tensors, it writes nothing and prints them, one in a line.
"""

import json
import pathlib
import sys

PARTS = ('unet', 'vae', 'text_encoder', 'text_encoder_2')


def main(source, target, config):
  import diffusers
  import torch
  index = json.loads((pathlib.Path(config) / 'model_index.json').read_text(encoding='utf-8'))
  kind = {'StableDiffusionPipeline': diffusers.StableDiffusionPipeline,
          'StableDiffusionXLPipeline': diffusers.StableDiffusionXLPipeline}[index['_class_name']]
  missing = {}  # network: names. diffusers keeps its random initial values where a tensor is absent
  load = torch.nn.Module.load_state_dict

  def load_and_note(module, *args, **kwargs):
    result = load(module, *args, **kwargs)
    missing[id(module)] = result.missing_keys
    return result
  torch.nn.Module.load_state_dict = load_and_note
  model = kind.from_single_file(source, config=config, local_files_only=True)
  rows = []
  for part in PARTS:
    if module := model.components.get(part):
      empty = [name for name, x in module.named_parameters() if x.is_meta]  # with accelerate
      rows += [f'{part}  {name}' for name in sorted({*missing.get(id(module), ()), *empty})]
  if rows:
    print(*rows, sep='\n')
    sys.exit(f'it lacks {len(rows)} tensors of the networks:')
  model.save_pretrained(target, safe_serialization=True)


if __name__ == '__main__':
  main(*sys.argv[1:])
