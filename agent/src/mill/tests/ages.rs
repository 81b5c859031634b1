//! Rows that may wait for a short time only, on a gateway where nothing else happens.

use super::durable::Gateway;
use super::*;

fn gateway(age_ms: u64) -> Gateway {
    let mut gateway = Gateway::new(&[(rule("count", "mqtt = [\"s/+\"]"), COUNTER)]);
    gateway.limits.age_ms = age_ms;
    gateway.settle().crash().settle();
    gateway
}

fn dropped(gateway: &Gateway) -> u64 {
    let outbox = gateway.mill.outbox().unwrap();
    outbox.lanes().map(|lane| lane.counts().dropped).sum()
}

#[test]
fn a_row_goes_soon_after_it_became_too_old_though_nothing_happens() {
    for age_ms in [1_000, 5_000, 60_000, 3_600_000] {
        let mut gateway = gateway(age_ms);
        let made = gateway.now.mono_ms;
        // More than the destination is handed at once: those are its own.
        for packet in 1..=300 {
            gateway.event(packet, false, "s/a", "x");
        }
        while dropped(&gateway) == 0 {
            gateway.settle();
            let due = gateway.mill.next_due_mono_ms().unwrap();
            let ms = due.saturating_sub(gateway.now.mono_ms).max(1);
            gateway.after(ms);
        }
        let after = gateway.now.mono_ms - made;
        let late = (age_ms / 10).min(10_000) + 1;
        assert!((age_ms..=age_ms + late).contains(&after), "{after} ms");
    }
}

#[test]
fn nothing_is_looked_at_while_no_row_waits() {
    let mut gateway = gateway(1_000);
    gateway.event(1, false, "s/a", "x").after(50);
    gateway.settle().acknowledge(0, 1, 1);
    for _ in 0..2 {
        gateway.after(5_000).settle();
    }
    let due = gateway.mill.next_due_mono_ms();
    assert!(
        due.is_none_or(|at| at > gateway.now.mono_ms + 60_000),
        "{due:?}"
    );
}
