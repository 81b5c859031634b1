//! Arguments that control a function, such as a pattern, a unit or a length. Their validity does
//! not depend on the content of events, so that a statement with a wrong one can be refused before
//! any event comes.

use crate::function::Cache;
use crate::{Budget, Context, FnError, Function, Kind, Map, Purity, Value, call, lookup, step};

/// Why a call can never give a value.
#[derive(Debug, Clone, PartialEq)]
pub struct NeverRight {
    /// The wrong argument, from 0; `None` if the arguments do not fit each other.
    pub place: Option<usize>,
    /// The error of the call.
    pub error: FnError,
}

/// Settings of a function.
struct Settings {
    /// Arguments with which the function gives a value.
    works: Vec<Value>,
    /// Places of the settings among them.
    places: &'static [usize],
    /// `true` if a call with these arguments can fail for nothing but a setting.
    fails_for_nothing_else: bool,
}

/// Checks the known arguments of a call before it is made; `None` in place of an unknown one.
///
/// # Errors
/// When no event can make the call give a value.
pub fn check_known(
    function: &Function,
    known: &[Option<Value>],
    budget: &mut Budget,
) -> Result<(), NeverRight> {
    if !function.arity.takes(known.len()) || known.iter().all(Option::is_none) {
        return Ok(());
    }
    let all: Option<Vec<Value>> = known.iter().cloned().collect();
    if let (Some(args), Kind::Scalar, Purity::Pure) = (all, function.kind, function.purity) {
        return run(function, &args, budget).map_err(|error| NeverRight {
            place: place_of(&error),
            error,
        });
    }
    // The value at a path may not be what a query needs; the existence of a path can be asked of
    // all values.
    let function = match function.name {
        "json_path_query" | "json_path_query_first" => lookup("json_path_exists"),
        _ => Some(function),
    };
    let known_settings = function.and_then(|function| Some((function, settings(function.name)?)));
    let Some((function, settings)) = known_settings else {
        return Ok(());
    };
    let mut args = settings.works;
    args.truncate(known.len());
    for place in settings.places {
        if let (Some(slot), Some(Some(value))) = (args.get_mut(*place), known.get(*place)) {
            *slot = value.clone();
        }
    }
    let Err(error) = run(function, &args, budget) else {
        return Ok(());
    };
    let is_setting = |place: usize| {
        settings.places.contains(&place) && known.get(place).is_some_and(Option::is_some)
    };
    let place = match place_of(&error) {
        Some(place) => Some(place).filter(|place| is_setting(*place)),
        None if settings.fails_for_nothing_else => {
            let mut places = settings.places.iter().copied();
            places.find(|place| is_setting(*place))
        }
        None => None,
    };
    match place {
        Some(_) => Err(NeverRight { place, error }),
        None => Ok(()),
    }
}

fn place_of(error: &FnError) -> Option<usize> {
    match error {
        FnError::Argument { place, .. } => place.checked_sub(1),
        _ => None,
    }
}

fn run(function: &Function, args: &[Value], budget: &mut Budget) -> Result<(), FnError> {
    if function.kind == Kind::Analytic {
        return step(function, &Value::Null, args, true, budget).map(drop);
    }
    let mut context = Context {
        now_ms: 0,
        rule: "",
        rule_start_ms: 0,
        topic: "",
        meta: &Map::new(),
        random: &mut || 0,
        cache: &mut Cache::default(),
        budget,
    };
    call(function, &mut context, args).map(drop)
}

/// The settings of a function, if it has some that can be wrong.
fn settings(name: &str) -> Option<Settings> {
    const DATE: &str = "2024-05-01T08:30:00Z";
    let text = |text: &str| Value::from(text);
    let bytes = || Value::bytes(vec![0; 16]);
    let (works, places, fails_for_nothing_else): (Vec<Value>, &'static [usize], bool) = match name {
        "regexp_matches" | "regexp_substr" | "regexp_substring" => {
            (vec![text("a"), text("a")], &[1], true)
        }
        "regexp_replace" => (vec![text("a"), text("a"), text("b")], &[1], true),
        "format_time" => (vec![text(DATE), text("YYYY")], &[1], true),
        "date_calc" => (vec![text(DATE), text("1h")], &[1], false),
        "date_diff" => (vec![text(DATE), text(DATE)], &[0, 1], false),
        "convert_tz" => (vec![text(DATE), text("UTC")], &[0, 1], true),
        "now" | "current_timestamp" | "local_time" | "local_timestamp" | "cur_time"
        | "current_time" => (vec![Value::Int(0)], &[0], true),
        "cast" => (vec![Value::Int(1), text("bigint")], &[1], false),
        "encode" => (vec![text("a"), text("hex")], &[1], true),
        "decode" => (vec![text("00"), text("hex")], &[1], false),
        "compress" => (vec![text("a"), text("gzip")], &[1], true),
        "decompress" => (vec![bytes(), text("gzip")], &[1], false),
        "lpad" | "rpad" => (vec![text("a"), Value::Int(1)], &[1], true),
        "substring" => {
            let args = vec![text("a"), Value::Int(0), Value::Int(i64::MAX)];
            (args, &[1, 2], false)
        }
        "split_value" => (vec![text("a"), text("/"), Value::Int(0)], &[2], false),
        "format" => {
            let args = vec![Value::Float(1.5), Value::Int(1), text("en_US")];
            (args, &[1, 2], true)
        }
        "round" | "trunc" => (vec![Value::Float(1.5), Value::Int(1)], &[1], false),
        "conv" => (
            vec![text("1"), Value::Int(10), Value::Int(16)],
            &[1, 2],
            false,
        ),
        "unpack" => (vec![bytes(), text("uint8"), Value::Int(0)], &[1, 2], false),
        "bits" => (vec![bytes(), Value::Int(0), Value::Int(1)], &[1, 2], false),
        "bit_at" => (vec![Value::Int(1), Value::Int(0)], &[1], false),
        "byte_at" => (vec![bytes(), Value::Int(0)], &[1], false),
        "json_path_exists" => (vec![Value::map(Map::new()), text("$.a")], &[1], true),
        "array_map" => (vec![text("abs"), Value::list(Vec::new())], &[0], true),
        "repeat" => (vec![Value::Int(1), Value::Int(1)], &[1], true),
        "sequence" => (
            vec![Value::Int(1), Value::Int(2), Value::Int(1)],
            &[2],
            false,
        ),
        "lag" => (vec![Value::Int(1), Value::Int(1)], &[1], false),
        _ => return None,
    };
    Some(Settings {
        works,
        places,
        fails_for_nothing_else,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions;

    /// The verdict on a call whose arguments in `known` are known.
    fn checked(name: &str, known: &[Option<Value>]) -> Result<(), (Option<usize>, String)> {
        let checked = check_known(lookup(name).unwrap(), known, &mut { Budget::PLENTY });
        checked.map_err(|never| (never.place, never.error.to_string()))
    }

    #[test]
    fn settings_that_work_are_refused_nowhere() {
        let mut checked = 0;
        for function in functions() {
            let Some(settings) = settings(function.name) else {
                continue;
            };
            checked += 1;
            let most = settings.works.len();
            for count in (1..=most).filter(|count| function.arity.takes(*count)) {
                let works = settings.works.get(..count).unwrap();
                if function.name != "decompress" {
                    assert_eq!(
                        run(function, works, &mut { Budget::PLENTY }),
                        Ok(()),
                        "{}",
                        function.name
                    );
                }
                let setting = |(place, value): (usize, &Value)| {
                    settings.places.contains(&place).then(|| value.clone())
                };
                let known: Vec<_> = works.iter().enumerate().map(setting).collect();
                assert_eq!(
                    check_known(function, &known, &mut { Budget::PLENTY }),
                    Ok(()),
                    "{}",
                    function.name
                );
            }
        }
        assert!(checked > 25, "{checked}");
    }

    #[test]
    fn a_setting_that_can_never_be_right_is_told_with_its_place() {
        let text = |text: &str| Some(Value::from(text));
        let int = |number: i64| Some(Value::Int(number));
        for (name, known, place, why) in [
            ("regexp_matches", vec![None, text("(")], 1, "is no pattern"),
            (
                "regexp_replace",
                vec![None, text("["), None],
                1,
                "is no pattern",
            ),
            (
                "date_calc",
                vec![None, text("1 hour")],
                1,
                "a duration such as 1h30m",
            ),
            (
                "convert_tz",
                vec![None, text("Mars")],
                1,
                "no time zone is called",
            ),
            ("date_diff", vec![text("soon"), None], 0, "a date"),
            ("cast", vec![None, text("number")], 1, "the name of a type"),
            ("encode", vec![None, text("base63")], 1, "'base64' or 'hex'"),
            ("decode", vec![None, text("base63")], 1, "'base64' or 'hex'"),
            (
                "decompress",
                vec![None, text("rar")],
                1,
                "'zlib', 'gzip' or 'flate'",
            ),
            ("lpad", vec![None, int(-1)], 1, "from 0 on"),
            ("substring", vec![None, int(-1)], 1, "from 0 on"),
            (
                "substring",
                vec![None, int(5), int(2)],
                2,
                "from `start` on",
            ),
            (
                "split_value",
                vec![None, None, text("first")],
                2,
                "a whole number",
            ),
            ("unpack", vec![None, text("uint17")], 1, "argument 2"),
            ("bits", vec![None, None, int(65)], 2, "0 to 64"),
            (
                "json_path_query",
                vec![None, text("$[")],
                1,
                "is no JSON path",
            ),
            ("lag", vec![None, int(0)], 1, "1 to 1,000"),
        ] {
            let told = checked(name, &known);
            let (at, error) = told.expect_err(name);
            assert_eq!(at, Some(place), "{name}: {error}");
            assert!(error.contains(why), "{name}: {error}");
        }
    }

    #[test]
    fn what_hangs_on_the_event_is_left_to_it() {
        let text = |text: &str| Some(Value::from(text));
        let int = |number: i64| Some(Value::Int(number));
        for (name, known) in [
            ("split_value", vec![None, text("/"), int(9)]),
            ("substring", vec![None, int(400)]),
            ("substring", vec![None, int(400), None]),
            ("cast", vec![None, text("datetime")]),
            ("cast", vec![None, text("boolean")]),
            ("decode", vec![None, text("base64")]),
            ("decompress", vec![None, text("zlib")]),
            ("unpack", vec![None, text("float64le"), int(900)]),
            ("byte_at", vec![None, int(-3)]),
            ("element_at", vec![None, text("a")]),
            ("regexp_matches", vec![text("("), None]),
            ("lpad", vec![None, Some(Value::Null)]),
            ("concat", vec![None, int(-1)]),
        ] {
            assert_eq!(checked(name, &known), Ok(()), "{name} {known:?}");
        }
    }

    #[test]
    fn a_call_of_constants_that_fails_is_told_as_it_fails() {
        let text = |text: &str| Some(Value::from(text));
        assert_eq!(checked("sqrt", &[Some(Value::Int(4))]), Ok(()));
        let (place, error) = checked("sqrt", &[Some(Value::Int(-4))]).unwrap_err();
        assert_eq!(
            (place, &*error),
            (
                Some(0),
                "argument 1 should be a number from 0 on, not bigint -4"
            )
        );
        let (place, error) = checked("parse_json", &[text("{")]).unwrap_err();
        assert_eq!(place, None, "{error}");
    }
}
