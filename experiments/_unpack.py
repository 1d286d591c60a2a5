"""The isolated process of unpack_checkpoint: reads a single-file checkpoint, writes a folder.

Runs as a file, without this package on the path: _unpack.py FILE TARGET CONFIG.
"""

import json
import pathlib
import sys


def main(source, target, config):
  import diffusers
  index = json.loads((pathlib.Path(config) / 'model_index.json').read_text(encoding='utf-8'))
  kind = {'StableDiffusionPipeline': diffusers.StableDiffusionPipeline,
          'StableDiffusionXLPipeline': diffusers.StableDiffusionXLPipeline}[index['_class_name']]
  kind.from_single_file(source, config=config, local_files_only=True).save_pretrained(
      target, safe_serialization=True)


if __name__ == '__main__':
  main(*sys.argv[1:])
