"""Fields of many kiosks, kept by the digest of their bytes and read again with another bundle.

From the ground up:

- ``layout``: what every object of an archive is called.
- ``store``: a folder or S3; an object is made once and never written over.
- ``tables``: the columns of everything that is kept as Parquet.
- ``place``: an opened archive; ``queries``: DuckDB over its tables.
- ``sources``, ``ingest``: fields come in.
- ``plan``: what is still to be read. ``equipment``, ``reading``, ``reader_process``, ``apart``: a
  field or a sample is read. ``parts``, ``cluster``, ``run``: many of them, on Dask.
- ``status``, ``compare``, ``page``, ``dataset``: what came of it.
"""
