"""scikit-learn and imbalanced-learn interfaces: arrays in, features or more rows out."""
