#!/bin/sh
# The life of a package in a root of Debian, run there by `cargo xtask packages --test`: /tmp/own.deb is
# installed, /tmp/higher.deb is the same with a higher version. The root has no network but its own.
set -eu
package=$1

step() { echo "trial: $*" >&2; }
fail() { echo "trial: FAILED: $*" >&2; exit 1; }

# As the service's user. Debian's programs are of ARMv7: only the agent itself runs on an ARMv6 processor, where the
# package is for one.
agent="setpriv --reuid=tidemill --regid=tidemill --clear-groups"
[ -z "${TRIAL_CPU:-}" ] || agent="$agent env QEMU_CPU=$TRIAL_CPU"
agent="$agent /usr/bin/tidemill"

step "install"
dpkg -i /tmp/own.deb >/dev/null
id tidemill >/dev/null || fail "there is no user tidemill"
[ "$(stat -c '%a %U:%G' /etc/tidemill)" = "750 root:tidemill" ] || fail "mode of /etc/tidemill"
[ ! -e /etc/tidemill/agent.toml ] || fail "agent.toml was written where nothing runs: all copies would have one id"
for unit in tidemill.service tidemill-seed.service; do
    [ -L "/etc/systemd/system/multi-user.target.wants/$unit" ] || fail "$unit is not enabled"
done
[ "$(find /etc/tidemill -type f | wc -l)" = 0 ] || fail "files in /etc/tidemill"
dpkg-query -W -f='${Conffiles}' "$package" | grep -q . && fail "conffiles, about which dpkg would ask"
# The root has no man, which the unit's Documentation= is looked up with.
systemd-analyze verify /usr/lib/systemd/system/tidemill.service /usr/lib/systemd/system/tidemill-seed.service 2>&1 | grep -v "Command 'man" >/tmp/verify || true
[ ! -s /tmp/verify ] || fail "the unit: $(cat /tmp/verify)"
$agent --version

step "run to a first result"
cat >/etc/tidemill/agent.toml <<'TOML'
# Written by the owner.
[gateway]
id = "trial"
[broker]
url = "mqtt://127.0.0.1:1883"
TOML
cat >/etc/tidemill/rules/hot.toml <<'TOML'
name = "hot"
version = 1
[on]
mqtt = ["sensors/+/env"]
key = "{topic.1}"
[function]
stock = "threshold"
[inputs]
value = "/temperature"
[params]
limit = 50
[ports.out]
to = "local"
topic = "alerts/{key}"
TOML
chgrp -R tidemill /etc/tidemill
chmod 640 /etc/tidemill/agent.toml /etc/tidemill/rules/hot.toml
sum=$(sha256sum /etc/tidemill/agent.toml /etc/tidemill/rules/hot.toml)
# As StateDirectory= does.
install -d -o tidemill -g tidemill -m 0700 /var/lib/tidemill
ip link set lo up 2>/dev/null || fail "no loopback device"
mosquitto -d -p 1883 >/dev/null 2>&1
$agent check >/dev/null || fail "the configuration is refused"
result=/tmp/result
first_result() {
    rm -f $result
    $agent run 2>/tmp/agent.log &
    running=$!
    mosquitto_sub -h 127.0.0.1 -t 'alerts/#' -C 1 -W 120 >$result 2>/dev/null &
    tries=0
    until [ -s $result ]; do
        tries=$((tries + 1))
        [ $tries -lt 120 ] || { cat /tmp/agent.log >&2; fail "no result"; }
        mosquitto_pub -h 127.0.0.1 -t sensors/d1/env -q 1 -m '{"temperature": 61.5}' || true
        sleep 0.5
    done
    grep -q 61.5 $result || fail "another result: $(cat $result)"
    kill -TERM $running
    wait $running || fail "the agent ended with $?"
}
first_result
data=$(find /var/lib/tidemill -type f | sort)
[ -n "$data" ] || fail "no data"

step "upgrade"
dpkg -i /tmp/higher.deb >/dev/null
[ "$sum" = "$(sha256sum /etc/tidemill/agent.toml /etc/tidemill/rules/hot.toml)" ] || fail "configuration changed"
[ "$data" = "$(find /var/lib/tidemill -type f | sort)" ] || fail "data changed"
first_result
data=$(find /var/lib/tidemill -type f | sort)

step "downgrade"
dpkg -i /tmp/own.deb >/dev/null 2>&1
[ "$sum" = "$(sha256sum /etc/tidemill/agent.toml /etc/tidemill/rules/hot.toml)" ] || fail "configuration changed"

step "remove"
dpkg -r "$package" >/dev/null
[ ! -e /usr/bin/tidemill ] || fail "the program is still there"
[ "$sum" = "$(sha256sum /etc/tidemill/agent.toml /etc/tidemill/rules/hot.toml)" ] || fail "configuration changed"
[ "$data" = "$(find /var/lib/tidemill -type f | sort)" ] || fail "data changed"

step "purge"
dpkg -P "$package" >/dev/null
[ ! -e /etc/tidemill ] || fail "/etc/tidemill is still there"
[ ! -e /var/lib/tidemill ] || fail "/var/lib/tidemill is still there"
