"""What `review-consumer check` asks Kafka: facts, without a judgement, and without a side effect that matters."""
