//! The faults of a plan.

use super::{Act, Moment, Setup, VARIANTS};
use crate::world::Random;

/// One fault, at times with another one that makes it worse.
pub(super) fn draw(random: &mut Random, setup: &Setup, at_us: u64, acts: &mut Vec<(u64, Act)>) {
    let power = random.one_in(2);
    let soon = |random: &mut Random| at_us + random.below(600_000);
    let after_us = random.pick(&[0, 200, 2_000, 20_000]);
    let mut crash_at = |moment| {
        let crash = Act::CrashAt {
            moment,
            power,
            after_us,
        };
        acts.push((at_us, crash));
    };
    match random.below(25) {
        0 => acts.push((at_us, Act::Crash { power })),
        1 => crash_at(Moment::Taken),
        2 => crash_at(Moment::Written),
        3 => crash_at(Moment::Synced),
        4 => crash_at(Moment::Acknowledged),
        5 => crash_at(Moment::Received),
        6 => crash_at(Moment::Checkpoint),
        7 => crash_at(Moment::Recycle),
        8 | 9 => acts.push((
            at_us,
            Act::Cut {
                client_first: random.one_in(2),
            },
        )),
        10 => acts.push((
            at_us,
            Act::BrokerAway {
                ms: random.between(50, 1_500),
            },
        )),
        11 if setup.same_content => acts.push((at_us, Act::Cut { client_first: true })),
        11 => {
            acts.push((at_us, Act::Snapshot));
            acts.push((soon(random), Act::Rewind));
        }
        12 => {
            crash_at(Moment::SessionLost);
            acts.push((at_us, Act::LoseSession));
        }
        13 => acts.push((at_us, Act::LoseSession)),
        14 => acts.push((at_us, Act::FailSync)),
        15 => acts.push((
            at_us,
            Act::FailWrite {
                writes: random.below(4),
            },
        )),
        16 => acts.push((
            at_us,
            Act::NoRoom {
                ms: random.between(100, 2_500),
            },
        )),
        17 => {
            // Killed, read back from the page cache, and then the power fails.
            acts.push((at_us, Act::Crash { power: false }));
            let crash = Act::CrashAt {
                moment: Moment::Restarted,
                power: true,
                after_us,
            };
            acts.push((at_us, crash));
        }
        18 => {
            let operations = random.between(1, 60);
            acts.push((at_us, Act::DieAfter { operations, power }));
        }
        19 => {
            acts.push((at_us, Act::PondFails));
            acts.push((soon(random), Act::DamagePond));
            acts.push((soon(random) + 200_000, Act::Crash { power: true }));
        }
        20 | 21 => {
            let variant = random.below(VARIANTS.len() as u64) as u8;
            acts.push((at_us, Act::Redeploy { variant }));
            let variant = random.below(VARIANTS.len() as u64) as u8;
            acts.push((soon(random) + 300_000, Act::Redeploy { variant }));
        }
        22 => {
            let destination = random.below(4) as usize;
            let ms = random.between(200, 4_000);
            acts.push((at_us, Act::ReceiverAway { destination, ms }));
        }
        23 => {
            let destination = random.below(4) as usize;
            acts.push((at_us, Act::ReceiverCut { destination }));
        }
        _ => {
            let act = match random.below(3) {
                0 => Act::Stop,
                1 => Act::Redrive,
                _ => Act::StepClock {
                    ms: random.pick(&[-3_600_000, 700, 86_400_000]),
                },
            };
            acts.push((at_us, act));
        }
    }
}
