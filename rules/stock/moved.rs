//! The test whether a value has moved: a module that `deadband` and `report-by-exception` share.

use crate::{cfg, slot};

/// Compares with the last value that left, by the rule's `band` and `percent`.
pub(crate) fn has_moved(value: f64) -> bool {
    let last = slot::LAST.get();
    let distance = (value - last).abs();
    let (band, percent) = (cfg::band(), cfg::percent());
    let relative = percent > 0.0 && distance > last.abs() * percent / 100.0;
    // With neither given the band is 0: any change counts.
    let absolute = (band > 0.0 || percent <= 0.0) && distance > band;
    relative || absolute
}
