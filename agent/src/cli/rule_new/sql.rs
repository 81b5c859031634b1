//! A starting point in SQL: a rule's manifest with its statement in it.

use super::{EVENTS, File, Start, try_it};

const RULE: &str = r#"# What docs/sql.md says of the language; `tidemill rule explain NAME.toml` shows what becomes of it.
name = "NAME"
version = 1                       # rises with every change
description = "Tell when a machine runs hot"

[on]
mqtt = ["sensors/+/env"]          # filters on the local broker

[function]
# Without a window each event stands for itself. A mean of each device and minute would be:
#   SELECT device, avg(temperature) AS mean FROM input GROUP BY device, TUMBLINGWINDOW(mi, 1)
sql = """
SELECT device, temperature, round(temperature * 1.8 + 32, 1) AS fahrenheit
FROM input
WHERE temperature > :limit
"""

[params]
limit = 50                        # :limit in the statement

[ports.out]
to = "local"                      # or a destination of the gateway's configuration
topic = "alerts/NAME"
"#;

pub(super) fn start(name: &str) -> Start {
    Start {
        folder: None,
        files: vec![
            File::new(format!("{name}.toml"), RULE.replace("NAME", name)),
            File::new(format!("{name}.jsonl"), EVENTS),
        ],
        needs: None,
        commands: vec![try_it(name)],
    }
}
