"""Deaths of members and brokers on Apache Kafka, and what became of the alerts and the state."""
