"""OBJ, OFF, PLY and STL: polygons in, triangles out, in memory that follows the file.

Each reader takes the bytes of a file and returns (vertices [V, 3], faces [F, 3], sRGB colours
[V, 3] or None), in the file's own frame. Materials, textures, normals and groups are ignored. Sizes
that a file claims are checked against its bytes. An invalid file, or one of more than `limit`
vertices or faces, raises MeshError or whatever error the parsing runs into.

What trimesh reads, and what it does not (each shown in tests/export/test_polygons.py):
  OBJ   here. trimesh counts a negative index from the end of the file, not from its own line, and
        doubles the vertices of texture seams, so that a closed surface opens.
  OFF   here. trimesh reads a truncated file as fewer or smaller faces without an error, and takes
        four-dimensional vertices for three-dimensional ones.
  PLY   here. trimesh refuses binary files that mix triangles and quads, and bytes after the data.
  STL   binary: trimesh, once the size is checked (it reads any other size as no mesh at all).
        Text: here. trimesh requires that each vertex has a line of its own that ends in LF.
"""
