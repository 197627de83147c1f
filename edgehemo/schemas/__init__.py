"""The JSON Schemas of every command's output and of the files a device reads.

``python -m edgehemo.schemas`` makes them from the records, ``--check`` says whether they are
current. The workstation's packages have such a folder each, for their own.
"""
