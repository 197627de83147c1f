"""What a laboratory publishes for its kiosks, bundles, languages and settings: checked, put in use
once it is proved, and left again where it fails.
"""
