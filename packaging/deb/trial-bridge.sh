#!/bin/sh
# The life of the bridge's package in a root of Debian, run there by `cargo xtask packages --test`: /tmp/own.deb is
# installed, /tmp/higher.deb is the same with a higher version. The root has no network but its own, and no serial port.
set -eu
package=$1

step() { echo "trial: $*" >&2; }
fail() { echo "trial: FAILED: $*" >&2; exit 1; }

# As the service's user. Debian's programs are of ARMv7: only the bridge itself runs on an ARMv6 processor, where the
# package is for one.
bridge="setpriv --reuid=tidemill --regid=tidemill --clear-groups"
[ -z "${TRIAL_CPU:-}" ] || bridge="$bridge env QEMU_CPU=$TRIAL_CPU"
bridge="$bridge /usr/bin/tidemill-bridge"

step "install"
dpkg -i /tmp/own.deb >/dev/null
id tidemill >/dev/null || fail "there is no user tidemill"
[ "$(stat -c '%a %U:%G' /etc/tidemill)" = "750 root:tidemill" ] || fail "mode of /etc/tidemill"
[ "$(find /etc/tidemill -type f | wc -l)" = 0 ] || fail "files in /etc/tidemill"
[ -L /etc/systemd/system/multi-user.target.wants/tidemill-bridge.service ] || fail "the service is not enabled"
dpkg-query -W -f='${Conffiles}' "$package" | grep -q . && fail "conffiles, about which dpkg would ask"
# The root has no man, which the unit's Documentation= is looked up with.
systemd-analyze verify /usr/lib/systemd/system/tidemill-bridge.service 2>&1 | grep -v "Command 'man" >/tmp/verify || true
[ ! -s /tmp/verify ] || fail "the unit: $(cat /tmp/verify)"
$bridge --version

step "run to a first status"
cat >/etc/tidemill/bridge.toml <<'TOML'
# Written by the owner.
[bridge]
id = "trial"
control = "/tmp/control"
[broker]
url = "mqtt://127.0.0.1:1883"
[[port]]
name = "boiler"
usb = "2341:0043"
TOML
chgrp tidemill /etc/tidemill/bridge.toml
chmod 640 /etc/tidemill/bridge.toml
sum=$(sha256sum /etc/tidemill/bridge.toml)
ip link set lo up 2>/dev/null || fail "no loopback device"
mosquitto -d -p 1883 >/dev/null 2>&1
$bridge check >/dev/null || fail "the configuration is refused"
first_status() {
    $bridge run 2>/tmp/bridge.log &
    running=$!
    status=$(mosquitto_sub -V 5 -h 127.0.0.1 -t serial/trial/boiler/status -C 1 -W 120 2>/dev/null) ||
        { cat /tmp/bridge.log >&2; fail "no status"; }
    case "$status" in
    *'"state":"absent"'*) ;;
    *) fail "another status: $status" ;;
    esac
    kill -TERM $running
    wait $running || fail "the bridge ended with $?"
}
first_status

step "upgrade"
dpkg -i /tmp/higher.deb >/dev/null
[ "$sum" = "$(sha256sum /etc/tidemill/bridge.toml)" ] || fail "configuration changed"
first_status

step "downgrade"
dpkg -i /tmp/own.deb >/dev/null 2>&1
[ "$sum" = "$(sha256sum /etc/tidemill/bridge.toml)" ] || fail "configuration changed"

step "remove"
dpkg -r "$package" >/dev/null
[ ! -e /usr/bin/tidemill-bridge ] || fail "the program is still there"
[ "$sum" = "$(sha256sum /etc/tidemill/bridge.toml)" ] || fail "configuration changed"

step "purge"
dpkg -P "$package" >/dev/null
[ ! -e /etc/tidemill ] || fail "/etc/tidemill is still there"
