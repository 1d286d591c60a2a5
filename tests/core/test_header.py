"""Safetensors headers: what the format's own writer makes, and a sentence for each thing wrong."""

import json
import struct

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from jax3dgen.core import header, weights
from jax3dgen.core.errors import WeightError

GOOD = {'a': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]},
        'b': {'dtype': 'F16', 'shape': [1, 2], 'data_offsets': [8, 12]}}


def crafted(entries, data=b'\0' * 12):
  text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
  return struct.pack('<Q', len(text)) + text + data


def but(name, **fields):
  return crafted(GOOD | {name: GOOD[name] | fields})


def test_reads_what_the_reference_writes(tmp_path):
  path = tmp_path / 'a.safetensors'
  dtypes = ('float64', 'float32', 'float16', jnp.bfloat16, 'int64', 'int32', 'int16', 'int8',
            'uint64', 'uint32', 'uint16', 'uint8', 'bool')
  tensors = {str(np.dtype(d)): np.arange(6).reshape(2, 3).astype(d) for d in dtypes}
  tensors |= {'empty': np.zeros((0, 3)), 'scalar': np.array(2.5, np.float32)}
  safetensors_numpy.save_file(tensors, path, {'made': 'here'})
  arrays = weights.Tensors(path)
  assert len(arrays) == len(tensors) == len(header.DTYPES) + 2
  for name, expected in tensors.items():
    assert arrays[name].dtype == expected.dtype
    np.testing.assert_array_equal(arrays[name], expected)
  assert header.metadata(path) == {'made': 'here'}


FAULTS = {
    'empty': (b'', 'claims 0 bytes of a file of 0'),
    'short': (b'\x10\0', 'claims 16 bytes of a file of 2'),
    'beyond the file': (struct.pack('<Q', 2**62) + b'{}', 'its header claims'),
    'over-long': (crafted(b'{' + b' ' * header.LIMIT + b'}'), 'over-long header'),
    'no json': (crafted(b'{{{{'), 'header is no JSON'),
    'no text': (crafted(b'\xff\xfe\xff'), 'header is no JSON'),
    'no object': (crafted([1]), 'header is no JSON object'),
    'too deep': (crafted(b'[' * 100_000), 'header is no JSON'),
    'twice': (crafted(json.dumps(GOOD).replace('"b"', '"a"').encode()), "two tensors.*'a'"),
    'no description': (crafted(GOOD | {'b': 7}), "'b' is not described"),
    'a description too little': (crafted(GOOD | {'b': {'dtype': 'F16'}}), "'b' is not described"),
    'a description too much': (but('b', more=1), "'b' is not described"),
    'unknown dtype': (but('b', dtype='F8_E4M3'), "'b' has the dtype 'F8_E4M3'; known are F64"),
    'dtype of another kind': (but('b', dtype=[16]), "'b' has the dtype"),
    'negative shape': (but('b', shape=[-1, -2]), "'b' has no shape"),
    'fractional shape': (but('b', shape=[1.0, 2]), "'b' has no shape"),
    'true as a shape': (but('b', shape=[True, 2]), "'b' has no shape"),
    'rank too high': (but('b', shape=[1] * 99 + [2]), "'b' has no shape"),
    'astronomic shape': (but('b', shape=[0, 10**30]), "'b' has no shape"),
    'one offset': (but('b', data_offsets=[8]), "'b' has no pair"),
    'negative offset': (but('b', data_offsets=[-4, 0]), "'b' has no pair"),
    'another length': (but('b', shape=[3]), "'b' has 4 bytes, where its shape and dtype need 6"),
    'backwards': (but('b', data_offsets=[12, 8]), "'b' has -4 bytes"),
    'overlap': (but('b', data_offsets=[4, 8]), "'b' overlap"),
    'gap': (but('b', data_offsets=[9, 13]), "1 bytes before 'b' belong to no tensor"),
    'truncated': (crafted(GOOD, b'\0' * 9), 'truncated, 3 bytes are missing'),
    'far past the end': (but('b', shape=[10**9], data_offsets=[8, 8 + 2 * 10**9]), 'truncated'),
    'more behind': (crafted(GOOD, b'\0' * 13), '1 bytes after the last tensor'),
}


@pytest.mark.parametrize('data, sentence', FAULTS.values(), ids=FAULTS)
def test_every_fault_has_its_own_message(tmp_path, data, sentence):
  path = tmp_path / 'a.safetensors'
  path.write_bytes(data)
  with pytest.raises(WeightError, match=sentence) as caught:
    header.read(path)
  assert str(path) in str(caught.value)


def test_the_valid_file_is_read(tmp_path):
  path = tmp_path / 'a.safetensors'
  path.write_bytes(crafted(GOOD))
  assert [entry.shape for entry in header.read(path).values()] == [(2,), (1, 2)]
  assert header.metadata(path) == {}
