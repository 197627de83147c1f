"""What all pages share: one look, plots as SVG."""
