"""Lateef et al. 2025: basophil, erythroblast and myeloblast by scattering, a CNN and ResNet-50."""
