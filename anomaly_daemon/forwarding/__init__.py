"""Alerts on their way to who is woken by them: from the topic to Alertmanager, or to a webhook."""
