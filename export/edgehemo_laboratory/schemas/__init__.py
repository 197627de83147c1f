"""The JSON Schemas of what the laboratory's commands write and its interface speaks."""
