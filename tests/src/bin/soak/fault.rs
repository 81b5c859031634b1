//! Faults of a soak.

use tidemill_tests::{Cut, Link, Proxy, Random};

use crate::world::World;

/// Bytes that are left of the disk when it is filled.
const LEFT_BYTES: u64 = 256 << 10;

/// The clock is set by so many seconds: minutes, eight days, twenty years, each both ways.
const STEPS: [i64; 3] = [400, 8 * 86_400, 20 * 365 * 86_400];

/// Bytes in a second of a slow link: less than what comes in, or a little more.
const SLOW: std::ops::Range<u64> = 8_000..40_000;

/// The link that a fault is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    In,
    Out,
}

/// A fault that lasts for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Cut(Side),
    Silence(Side),
    Refusal(Side),
    Slow(Side),
    Breaks(Side),
    BrokerStopped(Side),
    FullDisk,
    Clock,
    Kill,
    Restart,
}

impl Fault {
    /// One of those that this machine allows.
    pub(crate) fn draw(random: &mut Random, world: &World) -> Self {
        loop {
            let side = if random.one_in(2) {
                Side::In
            } else {
                Side::Out
            };
            let fault = match random.within(0..12) {
                0 => Self::Cut(side),
                1 => Self::Silence(side),
                2 => Self::Refusal(side),
                3 => Self::Slow(side),
                4 => Self::Breaks(side),
                5 | 6 => Self::BrokerStopped(side),
                7 => Self::FullDisk,
                8 => Self::Clock,
                9 | 10 => Self::Kill,
                _ => Self::Restart,
            };
            let possible = match fault {
                Self::FullDisk => world.disk.is_some(),
                Self::Clock => world.clock.is_some(),
                _ => true,
            };
            if possible {
                return fault;
            }
        }
    }

    /// `true` if both at once would say nothing, or could not be ended each for itself.
    pub(crate) fn excludes(self, other: Self) -> bool {
        let stops = |fault| matches!(fault, Self::Kill | Self::Restart);
        let link = |fault| match fault {
            Self::Cut(side)
            | Self::Silence(side)
            | Self::Refusal(side)
            | Self::Slow(side)
            | Self::Breaks(side) => Some(side),
            _ => None,
        };
        self == other
            || stops(self) && stops(other)
            || link(self).is_some() && link(self) == link(other)
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Cut(Side::In) => "cut of the inlet",
            Self::Cut(Side::Out) => "cut of the outlet",
            Self::Silence(Side::In) => "silence of the inlet",
            Self::Silence(Side::Out) => "silence of the outlet",
            Self::Refusal(Side::In) => "refused connections at the inlet",
            Self::Refusal(Side::Out) => "refused connections at the outlet",
            Self::Slow(Side::In) => "slow inlet",
            Self::Slow(Side::Out) => "slow outlet",
            Self::Breaks(Side::In) => "inlet that breaks at random bytes",
            Self::Breaks(Side::Out) => "outlet that breaks at random bytes",
            Self::BrokerStopped(Side::In) => "local broker stopped in its tracks",
            Self::BrokerStopped(Side::Out) => "upstream broker stopped in its tracks",
            Self::FullDisk => "full disk",
            Self::Clock => "clock set",
            Self::Kill => "kill",
            Self::Restart => "restart",
        }
    }

    pub(crate) fn begin(self, world: &mut World, random: &mut Random) {
        match self {
            Self::Cut(side) => {
                let how = if random.one_in(2) {
                    Cut::Reset
                } else {
                    Cut::Close
                };
                link(world, side).cut(how);
            }
            Self::Silence(side) => link(world, side).set(Link::BlackHole),
            Self::Refusal(side) => {
                link(world, side).set(Link::Refusing);
                link(world, side).cut(Cut::Reset);
            }
            Self::Slow(side) => link(world, side).rate(random.within(SLOW)),
            Self::Breaks(side) => link(world, side).cut_at_random(random.bits(), 100..50_000),
            Self::BrokerStopped(Side::In) => world.local.signal("STOP"),
            Self::BrokerStopped(Side::Out) => world.upstream.signal("STOP"),
            Self::FullDisk => {
                let disk = world.disk.as_ref();
                world.ballast = disk.map(|disk| disk.fill(LEFT_BYTES));
            }
            Self::Clock => {
                let step = STEPS[random.within(0..STEPS.len() as u64) as usize];
                let step = if random.one_in(2) { step } else { -step };
                if let Some(clock) = &world.clock {
                    clock.set(step);
                }
            }
            Self::Kill => {
                world.gateway.kill();
                world.gateway.run();
            }
            Self::Restart => {
                world.gateway.until_logged("deployed");
                world.gateway.stop();
                world.gateway.run();
            }
        }
    }

    /// The cure.
    pub(crate) fn end(self, world: &mut World) {
        match self {
            Self::Cut(_) | Self::Kill | Self::Restart => {}
            Self::Silence(side) | Self::Refusal(side) | Self::Slow(side) | Self::Breaks(side) => {
                link(world, side).heal();
            }
            Self::BrokerStopped(Side::In) => world.local.signal("CONT"),
            Self::BrokerStopped(Side::Out) => world.upstream.signal("CONT"),
            Self::FullDisk => {
                if let Some(ballast) = world.ballast.take() {
                    std::fs::remove_file(ballast).unwrap();
                }
            }
            Self::Clock => {
                if let Some(clock) = &world.clock {
                    clock.set(0);
                }
            }
        }
    }
}

fn link(world: &World, side: Side) -> &Proxy {
    match side {
        Side::In => &world.inlet,
        Side::Out => &world.outlet,
    }
}
