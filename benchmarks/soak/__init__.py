"""Attacks on the program, each for a stated time: killed, two at once, full disk, hostile input.

`make soak` runs them for five minutes and keeps the figures in ``results.json`` beside this file.
"""
