#!/usr/bin/env bash
# The story of README.md: a broker, a gateway and a receiver; both of the latter are killed while
# readings come, and in the end every reading was counted exactly once. Takes ten seconds
# once everything is built. Needs mosquitto and mosquitto-clients.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
PATH=$PATH:/usr/sbin
readings=${1:-1000}

cargo build --quiet
(cd ../.. && cargo build --quiet --package tidemill)
receiver=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/receiver
tidemill=$(cd ../.. && cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/tidemill

folder=$(mktemp -d)
broker='' agent='' received='' SECONDS=0
trap 'for job in $agent $received $broker; do killed $job; done; rm -rf "$folder"' EXIT
cp -r gateway/* "$folder"
printf 'listener 1885 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 1000\n' > "$folder/mosquitto.conf"
mosquitto -c "$folder/mosquitto.conf" 2> "$folder/mosquitto.log" & broker=$!

start_receiver() {
    "$receiver" "$folder/received.sqlite" --mqtt 127.0.0.1:1885 --filter 'up/#' --http 127.0.0.1:8085 2>> "$folder/receiver.log" &
    received=$!
}
start_agent() {
    "$tidemill" run --config "$folder/agent.toml" 2>> "$folder/agent.log" & agent=$!
}
# Its port is free only when it is gone.
killed() { { kill -9 "$1"; wait "$1"; } 2> /dev/null || true; }
# Says what went wrong instead of waiting for ever.
rest() {
    sleep 0.1
    [ $SECONDS -lt 300 ] && return
    tail -n 5 "$folder"/*.log >&2
    echo "this takes too long; the ends of the logs are above" >&2
    exit 1
}
until_logged() { until grep -q "$2" "$folder/$1" 2>/dev/null; do rest; done; }
total() {
    local count
    count=$("$receiver" show "$folder/received.sqlite" | sed -n "s/^$1\/d1: \([0-9]*\) messages.*/\1/p")
    echo "${count:-0}"
}

start_receiver; until_logged receiver.log subscribed
start_agent; until_logged agent.log subscribed

echo "$readings readings of one sensor, each a degree above the last"
seq "$readings" | mosquitto_pub -p 1885 -q 1 -t sensors/d1/env -l & sensor=$!
for part in 1 2 3 4; do
    until [ "$(total up)" -ge $((readings * part / 6)) ]; do rest; done
    if [ $((part % 2)) = 1 ]; then
        echo "the agent is killed at $(total up)"
        killed $agent; start_agent
    else
        echo "the receiver is killed at $(total up)"
        killed $received; start_receiver
    fi
done
wait $sensor
until [ "$(total up)" -ge "$readings" ] && [ "$(total web)" -ge "$readings" ]; do rest; done
# What would count twice comes within this time.
sleep 2
"$receiver" show "$folder/received.sqlite"
[ "$(total up)" = "$readings" ] && [ "$(total web)" = "$readings" ] && echo "each reading counted exactly once"
