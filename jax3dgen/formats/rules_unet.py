"""Names of the U-Nets' published tensors: `RULES` of diffusers', `MULTI_VIEW` of MVDream's.

Diffusers' names are those of `nn/unet`. MVDream's are the original ones of latent diffusion, which
counts blocks through: 12 on the way down and 12 up, three a level, with the residual block as
member 0, the transformer as member 1 and the change of size as the last.
"""

RULES = ()

_RESNET = (
    (r'\.in_layers\.0\.', '.norm1.'), (r'\.in_layers\.2\.', '.conv1.'),
    (r'\.emb_layers\.1\.', '.time_emb_proj.'),
    (r'\.out_layers\.0\.', '.norm2.'), (r'\.out_layers\.3\.', '.conv2.'),
    (r'\.skip_connection\.', '.conv_shortcut.'),
)

MULTI_VIEW = (
    (r'^(time|camera)_embed\.0\.', r'\1_embedding.linear_1.'),
    (r'^(time|camera)_embed\.2\.', r'\1_embedding.linear_2.'),
    (r'^input_blocks\.0\.0\.', 'conv_in.'),
    (r'^out\.0\.', 'conv_norm_out.'), (r'^out\.2\.', 'conv_out.'),
    (r'^middle_block\.1\.', 'mid_block.attentions.0.'),
    (r'^middle_block\.0\.', 'mid_block.resnets.0.'),
    (r'^middle_block\.2\.', 'mid_block.resnets.1.'),
    *((rf'^input_blocks\.{3 * level}\.0\.op\.', f'down_blocks.{level - 1}.downsamplers.0.conv.')
      for level in range(1, 4)),
    # The lowest level up has no transformer: its change of size is member 1.
    *((rf'^output_blocks\.{3 * level + 2}\.[12]\.conv\.', f'up_blocks.{level}.upsamplers.0.conv.')
      for level in range(3)),
    *((rf'^input_blocks\.{3 * level + i + 1}\.{member}\.', f'down_blocks.{level}.{kind}.{i}.')
      for level in range(4) for i in range(2)
      for member, kind in enumerate(('resnets', 'attentions'))),
    *((rf'^output_blocks\.{3 * level + i}\.{member}\.', f'up_blocks.{level}.{kind}.{i}.')
      for level in range(4) for i in range(3)
      for member, kind in enumerate(('resnets', 'attentions'))),
    *_RESNET,
)
