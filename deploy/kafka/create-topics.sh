#!/bin/sh
# Creates the worker's three topics if they are missing. For Kafka's own image, or any machine with its tools:
#
#   KAFKA_BIN=/opt/kafka/bin create-topics.sh HOST:PORT [extra arguments for kafka-topics.sh, e.g. --command-config FILE]
#
# PARTITIONS is the largest useful number of workers in a group. In production use REPLICATION=3 and MIN_INSYNC=2.
set -eu
server=$1
shift
bin=${KAFKA_BIN:-/opt/kafka/bin}
partitions=${PARTITIONS:-4} replication=${REPLICATION:-3} min_insync=${MIN_INSYNC:-2}

create() {
  topic=$1
  shift
  "$bin/kafka-topics.sh" --bootstrap-server "$server" --create --if-not-exists --topic "$topic" \
    --partitions "$partitions" --replication-factor "$replication" --config "min.insync.replicas=$min_insync" "$@"
}

# uncompressed: the broker unpacks what producers send and applies max.message.bytes to the result. So it refuses a few
# kB that unpack to a gigabyte when they are produced, instead of letting them kill the worker.
set_input="--config compression.type=uncompressed --config max.message.bytes=1048588"
# Room for the largest review plus what the worker adds; needs REVIEWS_MAX_REQUEST_BYTES=2097152, or less, at the worker.
set_output="--config max.message.bytes=2097664"

# shellcheck disable=SC2086 # each of these is several arguments
{
  create "${INPUT_TOPIC:-reviews}" $set_input "$@"
  create "${OUTPUT_TOPIC:-reviews.labeled}" $set_output "$@"
  create "${DEAD_LETTER_TOPIC:-reviews.dlq}" $set_output "$@"
}
