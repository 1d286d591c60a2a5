"""The methods that `train/compare` knows: what each changes in a distillation's config."""

# In some hundred steps adapters of rank 4 learn too little of the renders: all kernels are free.
CRITIC = {'distill.critic_rank': 0, 'distill.critic_layers': '', 'optim.fit_rate': 5e-4}
# What each method changes in the config; all else is equal.
METHODS = {
    'sds': {},
    'sds_rectified': {'distill.name': 'sds_rectified'},
    'vsd': {'distill.name': 'vsd', **CRITIC},
    'usd': {'distill.name': 'usd', **CRITIC},
    'esd': {'distill.name': 'esd', **CRITIC},
    'debiased_sds': {'debias.clamp': (0, 0.5, 2.0, 800), 'debias.prompt': 'words'},
    'perp_neg': {'guide.name': 'perp_neg'},
    **{name: {'distill.name': name} for name in (
        'sds_bridge', 'jsd', 'sjc', 'csd', 'nfsd', 'ism', 'sdi', 'cfd', 'hifa')},
    'hifa_annealing': {'timestep.rule': 'sqrt'}}
RECTIFIED = {'distill.name': 'sds_rectified'}
# Rectified SDS by its scale and its clamp.
SWEEP = {f'scale_{scale:g}_clamp_{clamp:g}': {
    **RECTIFIED, 'distill.rect_scale': scale, 'distill.clamp': clamp}
         for scale in (1.0, 10.0, 100.0, 1e4) for clamp in (0.3, 1.0)}
SHARES = (0.8, 0.085, 0.03, 0.085)  # of front, left, back and right in the prior's training data
# Rectified SDS with one thing changed, RecDreamer's Figure 4 among them.
ABLATIONS = {
    'n_ema_100': {**RECTIFIED, 'distill.n_ema': 100},
    'n_ema_1000': {**RECTIFIED, 'distill.n_ema': 1000},
    'fixed': {**RECTIFIED, 'distill.fixed': SHARES},
    'noisy': {**RECTIFIED, 'distill.sees': 'noisy'},
    'estimate': {**RECTIFIED, 'distill.feed': 'estimate'},
    'detached': {**RECTIFIED, 'distill.detach_denoiser': True},
    'control': {**RECTIFIED, 'distill.control': True},
    'texture': {**RECTIFIED, 'distill.parts': 'texture'},
    'sketches': {**RECTIFIED, 'distill.templates': 'sketches'},
    'auxiliary': {**RECTIFIED, 'auxiliary': 'side view, back view'},
    'back_and_forth': {**RECTIFIED, 'timestep.rule': 'back_and_forth'},
    'q_sampling': {'camera.sectors': SHARES}}
ALL = METHODS | SWEEP | ABLATIONS
