"""Control slides: targets, checks, rules, charts."""
