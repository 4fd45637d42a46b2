"""Kills members and brokers on Apache Kafka, and checks the alerts and the state that result."""
