"""Sends alerts from their topic to Prometheus' Alertmanager or to a webhook, which notify people."""
