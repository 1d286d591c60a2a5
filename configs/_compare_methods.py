"""The methods of configs/compare_*.py: the fields of a distillation's config that each changes.

{method: {dotted field: value}} from configs/sds.py:embedded; all other fields are equal. An
objective with its default settings needs no entry: its name is a method.
"""

from configs import _embedded

CRITIC = _embedded.CRITIC
# Of the first runs: the clean estimate of RecDreamer's code, and averages of renders, which are a
# variant of this project.
FIRST = {'distill.tweedie': 'guided', 'distill.feed': 'render', 'distill.n_ema': 25}
PAPER = _embedded.RECTIFIER
RECTIFIED = {'distill.name': 'sds_rectified', **FIRST}
USD = {'distill.name': 'usd', **CRITIC}
JSD = {'distill.name': 'jsd', 'distill.clip': False}  # Eq. 12 without clipping, in the first runs
# The decreasing noise level of SDI and JSD, one per step, within the embedded prior's range.
FALLING = {'timestep.min': (0, 0.96, 0.25, 1.0), 'timestep.max': (0, 0.96, 0.25, 1.0)}
OBJECTIVES = {
    'sds_rectified': RECTIFIED,
    'vsd': {'distill.name': 'vsd', **CRITIC},
    'usd': {**USD, **FIRST},
    'esd': {'distill.name': 'esd', **CRITIC},
    'debiased_sds': {'debias.clamp': (0, 0.5, 2.0, 1.0), 'debias.prompt': 'words'},
    'sds_bridge': {'distill.name': 'sds_bridge', 'distill.switch': 960},  # in 800 steps: stage 1
    'perp_neg': {'guide.name': 'perp_neg'},
    'jsd': JSD,
    'jsd_guidance_4': {**JSD, 'distill.guidance': 4.0},  # that of sds, vsd and usd
    'jsd_targets': {**JSD, 'distill.variant': 'targets'},
    'jsd_clipped': {'distill.name': 'jsd'},
    'jsd_targets_clipped': {'distill.name': 'jsd', 'distill.variant': 'targets'},
    'jsd_without_minority': {'distill.name': 'jsd', 'distill.minority': False},
    'jsd_shared_noise': {'distill.name': 'jsd', 'distill.minority_noise': 'shared'},
    'jsd_annealed': {'distill.name': 'jsd', **FALLING},
    'jsd_annealed_without_minority': {'distill.name': 'jsd', 'distill.minority': False, **FALLING},
    'jsd_annealed_shared_noise': {
        'distill.name': 'jsd', 'distill.minority_noise': 'shared', **FALLING},
    'jsd_code': {'distill.name': 'jsd', 'distill.variant': 'targets', 'distill.eta': 0.3,
                 'distill.inversion_guidance': -13.5, **FALLING},
    'sdi_annealed': {'distill.name': 'sdi', **FALLING},
    'hifa_annealing': {'timestep.rule': 'sqrt'}}
# Rectified SDS by scale and clamp.
SWEEP = {f'scale_{scale:g}_clamp_{clamp:g}': {
    **RECTIFIED, 'distill.rect_scale': scale, 'distill.clamp': clamp}
         for scale in (1.0, 10.0, 100.0, 1e4) for clamp in (0.3, 1.0)}
SHARES = (0.8, 0.085, 0.03, 0.085)  # of front, left, back and right in the prior's training data
# One change of a rectified objective each: RecDreamer's Figure 4, its n_ema and n_c, other
# classifiers, other inputs of the classifier.
ONE_CHANGE = {
    'n_ema_100': {'distill.n_ema': 100},
    'n_ema_1000': {'distill.n_ema': 1000},
    'n_c_2': {'distill.poses': 'front back', 'distill.classes': 2},
    'n_c_3': {'distill.poses': 'front left+right back', 'distill.classes': 3},
    'fixed': {'distill.fixed': SHARES},
    'noisy': {'distill.sees': 'noisy'},
    'time_conditioned': {'distill.classifier': 'noisy_pose', 'distill.sees': 'noisy'},
    'estimate': {'distill.feed': 'estimate'},
    'detached': {'distill.detach_denoiser': True},
    'conditional': {'distill.tweedie': 'conditional'},
    'control': {'distill.control': True},
    'texture': {'distill.parts': 'texture'},
    'turned': {'distill.templates': 'turned'},
    'sketches': {'distill.templates': 'sketches'},
    'auxiliary': {'auxiliary': 'side view, back view'},
    'back_and_forth': {'timestep.rule': 'back_and_forth'}}
ABLATIONS = {f'{base}_{name}': {**OBJECTIVES[base], **change}
             for base in ('sds_rectified', 'usd') for name, change in ONE_CHANGE.items()} | {
    'q_sampling': {'camera.sectors': SHARES}}
# Four fields that share critic and averages, with as many steps per field as a single one.
FOUR = {'train.particles': 4, 'train.steps': 3200, 'log.preview_every': 400}
PARTICLES = {f'{base}_four': {**OBJECTIVES[base], **FOUR} for base in ('vsd', 'usd')}
# RecDreamer's rectifier as its paper writes it; scale and clamp are those of all methods here.
PAPER_FORM = {'usd_paper': {**USD, **PAPER},
              'sds_rectified_paper': {'distill.name': 'sds_rectified', **PAPER}}
ALL = OBJECTIVES | SWEEP | ABLATIONS | PARTICLES | PAPER_FORM
