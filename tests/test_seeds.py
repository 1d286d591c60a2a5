from experiments import seeds


def figures(seed, count, stable, rotation):
  return {'prompt': 'a red bear', 'steps': 5, 'seed': seed, 'seconds': 2.0, 'face_count': count,
          'kind_correct': True, 'color_correct': seed == 0, 'watertight': True, 'stable': stable,
          'front_fraction': 0.25, 'view_kl': 0.0, 'winding': 1.0, 'reject_rate': 0.0,
          'rotation_deg': rotation, 'stable_uncut': False, 'rotation_deg_uncut': 90.0}


def test_summary_counts_faces_and_leaves_out_what_is_not_applicable():
  found = seeds.summary([figures(0, 1, True, 2.0), figures(1, 0, None, None),
                         figures(2, 3, False, 90.0), figures(3, 1, True, 1.0)])
  assert (found['one_face'], found['no_face'], found['several_faces']) == (0.5, 0.25, 0.25)
  assert found['color_correct'] == 0.25
  assert found['stable'] == 2 / 3 and found['rotation_deg'] == 31.0
  assert found['stable_uncut'] == 0 and found['rotation_deg_uncut'] == 90.0
