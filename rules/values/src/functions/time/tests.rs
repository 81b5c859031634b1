use super::*;

#[test]
fn dates_are_read_as_they_are_written() {
    let check = |text: &str, expected: &str| {
        let given = parse::parse(text).map(|moment| {
            let text = pattern::write(&moment, pattern::RFC_3339).unwrap();
            text.replace("+00:00", "Z").replace(".000", "")
        });
        assert_eq!(given.as_deref().unwrap_or("none"), expected, "{text}");
    };
    check("2024", "2024-01-01T00:00:00Z");
    check("2024-5", "2024-05-01T00:00:00Z");
    check("2024-5-1", "2024-05-01T00:00:00Z");
    check("20240501", "2024-05-01T00:00:00Z");
    check("2024/05/01", "2024-05-01T00:00:00Z");
    check("2024.5.1 8:30", "2024-05-01T08:30:00Z");
    check("5/1/2024", "2024-05-01T00:00:00Z");
    check("5/1/2024 8:30:1", "2024-05-01T08:30:01Z");
    check("2024-05-01 08", "2024-05-01T08:00:00Z");
    check("2024-05-01T08:30:00Z", "2024-05-01T08:30:00Z");
    check("2024-05-01t08:30:00z", "2024-05-01T08:30:00Z");
    check(
        "2024-05-01T08:30:00.5+02:00",
        "2024-05-01T08:30:00.500+02:00",
    );
    check(
        "2024-05-01T08:30:00.123456789-0530",
        "2024-05-01T08:30:00.123-05:30",
    );
    check("2024-05-01 08:30:00 +0800 CST", "2024-05-01T08:30:00+08:00");
    check("2024-05-01 08:30:00 UTC", "2024-05-01T08:30:00Z");
    check(
        "Wed, 01 May 2024 08:30:00 +0200",
        "2024-05-01T08:30:00+02:00",
    );
    check(" 2024-05-01 ", "2024-05-01T00:00:00Z");
    for text in [
        "",
        "x",
        "2024-13-01",
        "2024-02-30",
        "24-05-01",
        "1541152486013",
        "08:30",
        "2024-05-01T",
        "2024-05-01 25:00",
        "2024-05-01 8:30:00.",
        "2024-05-01 8:30:00+25",
        "2024-05-01 8:30:00 X1",
        "2024-05-01-02",
        "+2024-05-01",
        "2024-05-01 08:30:00+2:00",
        "２０２４",
    ] {
        // A date with an empty time of day is a date.
        let expected = if text == "2024-05-01T" {
            "2024-05-01T00:00:00Z"
        } else {
            "none"
        };
        check(text, expected);
    }
}

#[test]
fn zones_know_their_nights() {
    let berlin = Zone::named("Europe/Berlin").unwrap();
    // 2024-03-31, 01:00 UTC: clocks go from 02:00 to 03:00.
    assert_eq!(berlin.offset_s(1_711_846_799), 3_600);
    assert_eq!(berlin.offset_s(1_711_846_800), 7_200);
    assert_eq!(Zone::named("UTC").unwrap().offset_s(0), 0);
    assert!(Zone::named("Local").is_none());
    for extreme in [i64::MIN, i64::MAX] {
        berlin.offset_s(extreme);
    }
}
