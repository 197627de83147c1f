"""How a device changes over weeks, from its own records: series, limits, findings, one page.

What other rooms use: `edgehemo.monitor.overview.observe` reads everything at once;
`edgehemo.monitor.series.series`, `edgehemo.monitor.charts.charts` and
`edgehemo.monitor.findings.findings` are its parts. All but the reading of the database is pure.
"""
