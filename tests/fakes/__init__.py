"""The simulation's fakes of Kafka and MongoDB pass the same tests as the real servers."""
