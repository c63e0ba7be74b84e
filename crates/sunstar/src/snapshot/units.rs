//! Numbers for people.

/// Bytes in binary units, three digits of them.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        // What would be shown as 1000 or more is shown in the next unit.
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1_024.0, next);
    }
    format!("{}{unit}", digits(value, unit == "B"))
}

/// Microseconds, in the unit that is natural.
pub(super) fn micros(micros: u64) -> String {
    let value = micros as f64;
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..1_000_000 => format!("{}ms", digits(value / 1e3, false)),
        _ => format!("{}s", digits(value / 1e6, false)),
    }
}

fn digits(value: f64, whole: bool) -> String {
    match value {
        _ if whole => format!("{value:.0}"),
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
