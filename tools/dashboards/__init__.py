"""The Grafana boards as code: ``python -m tools.dashboards`` writes config/grafana/dashboards."""
