"""Names in files of adapters -> 'part/layer/member', a layer's dots and slashes as '_'.

Parts are diffusers' folders: unet, text_encoder, text_encoder_2. Members are down [rank, in, ...],
up [out, rank, ...] and alpha []. Three spellings of the first two are diffusers', early and late;
PEFT's has a prefix, no part, and perhaps the name of the adapter; kohya's writes the whole layer
with '_', after its own name for the part, and counts the blocks of an SDXL U-Net through, as latent
diffusion does.
"""

_MEMBERS = (
    (r'\.(lora_A(\.\w+)?|lora_down|lora\.down|lora_linear_layer\.down)\.weight$', '/down'),
    (r'\.(lora_B(\.\w+)?|lora_up|lora\.up|lora_linear_layer\.up)\.weight$', '/up'),
    (r'_lora\.(down|up)\.weight$', r'/\1'),
    (r'\.alpha$', '/alpha'),
)

_UNNAMED = {'unet': 'down_blocks|mid_block|up_blocks|conv_in|conv_out|time_embedding|add_embedding',
            'text_encoder': 'text_model|encoder|text_projection'}  # layers of files of one part
_PARTS = (
    (r'^((?:unet|text_encoder|text_encoder_2)\.)?base_model\.model\.', r'\1'),
    (r'^lora_unet_', 'unet/'), (r'^lora_te1?_', 'text_encoder/'),
    (r'^lora_te2_', 'text_encoder_2/'), (r'^(unet|text_encoder|text_encoder_2)\.', r'\1/'),
    *((rf'^(?=({layers})[./])', f'{part}/') for part, layers in _UNNAMED.items()),
)

_LAYERS = (
    (r'\.processor\.to_out(?=/)', '.to_out_0'), (r'\.processor\.', '.'),
    (r'\.', '_'),
    (r'^(text_encoder(?:_2)?/)text_model_', r'\1'),
    (r'(_self_attn)_to_([qkv]|out)(?=/)', r'\1_\2_proj'),
)

_COUNTED = (
    (r'^(unet)/time_embed_0(?=/)', r'\1/time_embedding_linear_1'),
    (r'^(unet)/time_embed_2(?=/)', r'\1/time_embedding_linear_2'),
    (r'^(unet)/label_emb_0_0(?=/)', r'\1/add_embedding_linear_1'),
    (r'^(unet)/label_emb_0_2(?=/)', r'\1/add_embedding_linear_2'),
    (r'^(unet)/input_blocks_0_0(?=/)', r'\1/conv_in'), (r'^(unet)/out_2(?=/)', r'\1/conv_out'),
    (r'/middle_block_0_', '/mid_block_resnets_0_'),
    (r'/middle_block_1_', '/mid_block_attentions_0_'),
    (r'/middle_block_2_', '/mid_block_resnets_1_'),
    *((rf'/input_blocks_{3 * level}_0_op(?=/)', f'/down_blocks_{level - 1}_downsamplers_0_conv')
      for level in range(1, 4)),
    *((rf'/output_blocks_{3 * level + 2}_[12]_conv(?=/)',
       f'/up_blocks_{level}_upsamplers_0_conv') for level in range(3)),
    *((rf'/input_blocks_{3 * level + i + 1}_{member}_', f'/down_blocks_{level}_{kind}_{i}_')
      for level in range(4) for i in range(2)
      for member, kind in enumerate(('resnets', 'attentions'))),
    *((rf'/output_blocks_{3 * level + i}_{member}_', f'/up_blocks_{level}_{kind}_{i}_')
      for level in range(4) for i in range(3)
      for member, kind in enumerate(('resnets', 'attentions'))),
    (r'_in_layers_2(?=/)', '_conv1'), (r'_out_layers_3(?=/)', '_conv2'),
    (r'_emb_layers_1(?=/)', '_time_emb_proj'), (r'_skip_connection(?=/)', '_conv_shortcut'),
)

RULES = (*_MEMBERS, *_PARTS, *_LAYERS, *_COUNTED)
