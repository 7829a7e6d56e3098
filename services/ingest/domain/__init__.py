"""What an import request is, apart from HTTP and Kafka."""
