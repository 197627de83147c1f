"""The two ResNet18 models of fields: field estimator and anaemia screen."""
