"""Import requests and jobs, independent of HTTP and Kafka."""
