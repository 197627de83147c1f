"""The anaemia screen."""
