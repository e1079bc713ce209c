#!/bin/sh
# Creates the three topics of the worker where they are missing. For Kafka's own image, or any machine with its tools:
#
#   KAFKA_BIN=/opt/kafka/bin create-topics.sh HOST:PORT [extra arguments for kafka-topics.sh, e.g. --command-config FILE]
#
# PARTITIONS bounds the number of workers in a group. Production wants REPLICATION=3 and MIN_INSYNC=2.
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

# uncompressed: the broker unpacks what producers send and applies max.message.bytes to the result, so that a few kB
# that unpack to a gigabyte are refused where they are produced instead of killing the worker.
set_input="--config compression.type=uncompressed --config max.message.bytes=1048588"
# Room for the largest review plus what the worker adds; needs REVIEWS_MAX_REQUEST_BYTES=2097152, or less, at the worker.
set_output="--config max.message.bytes=2097664"

# shellcheck disable=SC2086 # each of these is several arguments
{
  create "${INPUT_TOPIC:-reviews}" $set_input "$@"
  create "${OUTPUT_TOPIC:-reviews.labeled}" $set_output "$@"
  create "${DEAD_LETTER_TOPIC:-reviews.dlq}" $set_output "$@"
}
